package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// hidden are the blocks of which the view says nothing that can be built upon: the record cannot be read, or it is that of
// a block of another size. Somebody owns them, and it is not known who: nobody claims them, and nothing is published of
// them until the record is mended. Its owner goes on with what it knows.
type hidden struct {
	unread map[poolAddress]bool                     // by their first addresses
	parked map[poolAddress]map[poolAddress]struct{} // what is to be published of each once it is mended
	left   map[poolAddress]time.Time                // blocks of others whose keys are gone, and since when
}

// leftTime is how long a block is not claimed, while there are others, after its key has gone without a word of ours: where
// somebody has deleted it, its owner makes it again.
const leftTime = 5 * time.Second

// take brings in what the watch says; the blocks' lock is held. Mended are the blocks that can be read again, or are gone.
func (h *hidden) take(u kv.Update[record.Block]) (mended []poolAddress) {
	if u.Full || h.unread == nil {
		h.unread = map[poolAddress]bool{}
	}
	for _, e := range u.Repaired {
		at := poolAddress{e.At.Pool, e.At.Address}
		delete(h.unread, at)
		mended = append(mended, at)
	}
	for _, e := range u.Bad {
		h.unread[poolAddress{e.At.Pool, e.At.Address}] = true
	}
	if h.left == nil {
		h.left = map[poolAddress]time.Time{}
	}
	for at, since := range h.left {
		if time.Since(since) > leftTime {
			delete(h.left, at)
		}
	}
	for _, b := range u.Set {
		at := poolAddress{b.Pool, b.Prefix.Addr()}
		delete(h.left, at)
		if h.unread[at] { // a transaction has come upon it, and the watch has not seen it
			delete(h.unread, at)
			mended = append(mended, at)
		}
	}
	for _, b := range u.Gone {
		h.left[poolAddress{b.Pool, b.Prefix.Addr()}] = time.Now()
	}
	return mended
}

// spoil brings in what a transaction has come upon.
func (b *blocks) spoil(e *kv.DamagedError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hidden.unread == nil {
		b.hidden.unread = map[poolAddress]bool{}
	}
	if e.At.Kind == kv.KindBlock {
		b.hidden.unread[poolAddress{e.At.Pool, e.At.Address}] = true
	}
}

// isHidden reports whether nothing can be built upon what is known of a pool's block.
func (b *blocks) isHidden(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hides(pool, block)
}

func (b *blocks) hides(pool string, block netip.Prefix) bool {
	at := poolAddress{pool, block.Addr()}
	written, known := b.first[at]
	return b.hidden.unread[at] || known && written != block
}

// hiddenIn are the hidden blocks of a pool.
func (b *blocks) hiddenIn(name string, c *config.Config) (all []netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := c.Pools[name]
	for at := range b.hidden.unread {
		if block := pool.BlockOf(at.addr); at.pool == name && block.IsValid() {
			all = append(all, block)
		}
	}
	return all
}

// hasLeft reports whether the key of a pool's block has gone just now.
func (b *blocks) hasLeft(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, there := b.hidden.left[poolAddress{pool, block.Addr()}]
	return there && time.Since(since) <= leftTime
}

// park keeps an address whose assignment cannot be published until its block is mended.
func (b *blocks) park(block netip.Prefix, d poolAddress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := poolAddress{d.pool, block.Addr()}
	if b.hidden.parked == nil {
		b.hidden.parked = map[poolAddress]map[poolAddress]struct{}{}
	}
	if b.hidden.parked[at] == nil {
		b.hidden.parked[at] = map[poolAddress]struct{}{}
	}
	b.hidden.parked[at][d] = struct{}{}
}

// unpark gives back what was kept of a block.
func (b *blocks) unpark(at poolAddress) map[poolAddress]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.hidden.parked[at]
	delete(b.hidden.parked, at)
	return kept
}

// unhide publishes what could not be published of blocks whose records are mended.
func (a *Agent) unhide(mended []poolAddress) {
	for _, at := range mended {
		for d := range a.blocks.unpark(at) {
			a.backlog.add(d.pool, []netip.Addr{d.addr})
		}
	}
	a.settleUnsure(len(mended) > 0)
}

// tellMisfits tells of the blocks that are of another size than their pool's.
func (a *Agent) tellMisfits(set []record.Block) {
	pools := a.config.Load().Pools
	for _, b := range set {
		pool, known := pools[b.Pool]
		if want := pool.BlockOf(b.Prefix.Addr()); known && want != b.Prefix {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			a.foundBad(&kv.DamagedError{
				Key: kv.NewKeys(a.Etcd.Prefix).Of(key), At: key, Revision: b.Revision,
				Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, want, b.Pool),
			})
		} else if known {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			a.findings.Clear(recordDamaged, kv.NewKeys(a.Etcd.Prefix).Of(key))
		}
	}
}

// assertGone makes etcd know again what this node owns of blocks whose keys somebody has deleted.
func (a *Agent) assertGone(gone []blockKey) {
	for _, k := range gone {
		pool, known := a.config.Load().Pools[k.pool]
		if !known || pool.BlockOf(k.prefix.Addr()) != k.prefix {
			continue
		}
		var own []netip.Prefix
		a.pools.with(spaceKey{k.pool, allocator.FamilyOf(k.prefix.Addr())}, func(s *allocator.Space) {
			for _, p := range s.Parts() {
				if k.prefix.Contains(p.Addr()) {
					own = append(own, p)
				}
			}
		})
		// What nobody uses is anybody's again, as a block is that this node has given up.
		if len(own) > 0 && slices.ContainsFunc(a.journal.Entries(), func(e *journal.Entry) bool {
			return e.Pool == k.pool && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, k.prefix.Contains)
		}) {
			a.background.Go(func() { a.assertBlock(k, own) })
		}
	}
}

// assertBlock makes etcd know again what this node owns of one block. Where it cannot, the next settling does.
func (a *Agent) assertBlock(k blockKey, own []netip.Prefix) {
	session, err := a.holding(allocator.Stateless)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Assert(ctx, session, k.pool, k.prefix, own)
	if err == nil {
		a.Log.Warn("somebody has deleted the record of a block of this node; it is there again", zap.String("pool", k.pool),
			zap.Stringer("block", k.prefix))
		err = a.own(session, b)
	}
	if err != nil && !a.damaged(err) {
		a.Log.Warn("cannot make the record of a block again yet; the node settles anew", zap.String("pool", k.pool),
			zap.Stringer("block", k.prefix), zap.Error(err))
		a.reassert.Raise()
	}
}
