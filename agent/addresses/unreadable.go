package addresses

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// unreadable are the blocks of which the view says nothing that can be built upon: the record cannot be read, or it is that of
// a block of another size. Somebody owns them, and it is not known who: nobody claims them, and nothing is published of
// them until the record is mended. Its owner goes on with what it knows.
type unreadable struct {
	unread map[ipam.Address]bool                      // by their first addresses
	parked map[ipam.Address]map[ipam.Address]struct{} // what is to be published of each once it is mended
	left   map[ipam.Address]time.Time                 // blocks of others whose keys are gone, and since when
}

// leftTime is how long a block is not claimed, while there are others, after its key has gone without a word of ours: where
// somebody has deleted it, its owner makes it again.
const leftTime = 5 * time.Second

// apply brings in what the watch says; the blocks' lock is held. Mended are the blocks that can be read again, or are gone.
func (h *unreadable) apply(u kv.Update[record.Block]) (repaired []ipam.Address) {
	if u.Full || h.unread == nil {
		h.unread = map[ipam.Address]bool{}
	}
	for _, e := range u.Repaired {
		at := ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}
		delete(h.unread, at)
		repaired = append(repaired, at)
	}
	for _, e := range u.Bad {
		h.unread[ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}] = true
	}
	if h.left == nil {
		h.left = map[ipam.Address]time.Time{}
	}
	for at, since := range h.left {
		if time.Since(since) > leftTime {
			delete(h.left, at)
		}
	}
	for _, b := range u.Set {
		at := ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}
		delete(h.left, at)
		if h.unread[at] { // a transaction has come upon it, and the watch has not seen it
			delete(h.unread, at)
			repaired = append(repaired, at)
		}
	}
	for _, b := range u.Gone {
		h.left[ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}] = time.Now()
	}
	return repaired
}

// NoteUnreadable brings in what a transaction has come upon.
func (b *blocks) NoteUnreadable(e *kv.DamagedError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unreadable.unread == nil {
		b.unreadable.unread = map[ipam.Address]bool{}
	}
	if e.At.Kind == kv.KindBlock {
		b.unreadable.unread[ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}] = true
	}
}

// IsUnreadable reports whether nothing can be built upon what is known of a pool's block.
func (b *blocks) IsUnreadable(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isUnreadableLocked(pool, block)
}

func (b *blocks) isUnreadableLocked(pool string, block netip.Prefix) bool {
	at := ipam.Address{Pool: pool, Addr: block.Addr()}
	written, known := b.first[at]
	return b.unreadable.unread[at] || known && written != block
}

// UnreadableIn are the hidden blocks of a pool.
func (b *blocks) UnreadableIn(name string, c *config.Config) (all []netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := c.Pools[name]
	for at := range b.unreadable.unread {
		if block := pool.BlockOf(at.Addr); at.Pool == name && block.IsValid() {
			all = append(all, block)
		}
	}
	return all
}

// hasLeft reports whether the key of a pool's block has gone just now.
func (b *blocks) hasLeft(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, there := b.unreadable.left[ipam.Address{Pool: pool, Addr: block.Addr()}]
	return there && time.Since(since) <= leftTime
}

// Park keeps an address whose assignment cannot be published until its block is mended.
func (b *blocks) Park(block netip.Prefix, d ipam.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := ipam.Address{Pool: d.Pool, Addr: block.Addr()}
	if b.unreadable.parked == nil {
		b.unreadable.parked = map[ipam.Address]map[ipam.Address]struct{}{}
	}
	if b.unreadable.parked[at] == nil {
		b.unreadable.parked[at] = map[ipam.Address]struct{}{}
	}
	b.unreadable.parked[at][d] = struct{}{}
}

// unpark gives back what was kept of a block.
func (b *blocks) unpark(at ipam.Address) map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.unreadable.parked[at]
	delete(b.unreadable.parked, at)
	return kept
}

// publishRepaired publishes what could not be published of blocks whose records are mended.
func (m *Manager) publishRepaired(repaired []ipam.Address) {
	for _, at := range repaired {
		for d := range m.Blocks.unpark(at) {
			m.backlog.Add(d.Pool, []netip.Addr{d.Addr})
		}
	}
	m.isolator.SettleUnsure(len(repaired) > 0)
}

// reportMisfits tells of the blocks that are of another size than their pool's.
func (m *Manager) reportMisfits(set []record.Block) {
	pools := m.Config().Pools
	for _, b := range set {
		pool, known := pools[b.Pool]
		if want := pool.BlockOf(b.Prefix.Addr()); known && want != b.Prefix {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			m.NoteDamaged(&kv.DamagedError{
				Key: m.Key(key), At: key, Revision: b.Revision,
				Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, want, b.Pool),
			})
		} else if known {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			m.ClearDamaged(m.Key(key))
		}
	}
}

// assertGone makes etcd know again what this node owns of blocks whose keys somebody has deleted.
func (m *Manager) assertGone(gone []ipam.BlockID) {
	for _, k := range gone {
		pool, known := m.Config().Pools[k.Pool]
		if !known || pool.BlockOf(k.Prefix.Addr()) != k.Prefix {
			continue
		}
		var own []netip.Prefix
		m.Pools.With(SpaceOf(k.Pool, k.Prefix.Addr()), func(s *allocator.Space) {
			for _, p := range s.Parts() {
				if k.Prefix.Contains(p.Addr()) {
					own = append(own, p)
				}
			}
		})
		// What nobody uses is anybody's again, as a block is that this node has given up.
		if len(own) > 0 && slices.ContainsFunc(m.Journal.Entries(), func(e *journal.Entry) bool {
			return e.Pool == k.Pool && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, k.Prefix.Contains)
		}) {
			m.Background.Go(func() { m.assertBlock(k, own) })
		}
	}
}

// assertBlock makes etcd know again what this node owns of one block. Where it cannot, the next settling does.
func (m *Manager) assertBlock(k ipam.BlockID, own []netip.Prefix) {
	session, err := m.Holding(allocator.Stateless)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Assert(ctx, session, k.Pool, k.Prefix, own)
	if err == nil {
		m.Log.Warn("somebody has deleted the record of a block of this node; it is there again", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix))
		err = m.Own(session, b)
	}
	if err != nil && !m.Damaged(err) {
		m.Log.Warn("cannot make the record of a block again yet; the node settles anew", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix), zap.Error(err))
		m.Reassert.Raise()
	}
}
