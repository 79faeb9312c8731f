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

// unreadable are the blocks whose record cannot be read, or is that of a block of another size. Their owner is unknown, so that
// no node claims them and nothing of them is published until the record is repaired. The owner itself goes on with what it knows.
type unreadable struct {
	unread map[ipam.Address]bool                      // by their first addresses
	parked map[ipam.Address]map[ipam.Address]struct{} // what to publish of each once it is repaired
	left   map[ipam.Address]time.Time                 // blocks whose keys were deleted, and since when
}

// leftTime is how long a block is avoided, while there are others, after its key was deleted: if that was done by hand, its owner
// restores it.
const leftTime = 5 * time.Second

// apply applies an update of the watch, under the blocks' lock, and returns the blocks that can be read again or are gone.
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
		if h.unread[at] { // found by a transaction, not by the watch
			delete(h.unread, at)
			repaired = append(repaired, at)
		}
	}
	for _, b := range u.Gone {
		h.left[ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}] = time.Now()
	}
	return repaired
}

// NoteUnreadable adds a damaged block that a transaction has found.
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

// IsUnreadable reports whether the view of a pool's block cannot be relied on.
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

// UnreadableIn are the unreadable blocks of a pool.
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

// hasLeft reports whether the key of a pool's block has just been deleted.
func (b *blocks) hasLeft(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, there := b.unreadable.left[ipam.Address{Pool: pool, Addr: block.Addr()}]
	return there && time.Since(since) <= leftTime
}

// Park keeps an address whose assignment cannot be published until its block is repaired.
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

// unpark returns and drops what was parked for a block.
func (b *blocks) unpark(at ipam.Address) map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.unreadable.parked[at]
	delete(b.unreadable.parked, at)
	return kept
}

// publishRepaired puts what was parked for repaired blocks into the backlog.
func (m *Manager) publishRepaired(repaired []ipam.Address) {
	for _, at := range repaired {
		for d := range m.Blocks.unpark(at) {
			m.backlog.Add(d.Pool, []netip.Addr{d.Addr})
		}
	}
	m.isolator.SettleUnsure(len(repaired) > 0)
}

// reportMisfits reports the blocks that have another size than their pool's, and clears the finding of the others.
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

// assertGone restores the records of this node's blocks whose keys were deleted.
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
		// A block without containers is left without an owner.
		if len(own) > 0 && slices.ContainsFunc(m.Journal.Entries(), func(e *journal.Entry) bool {
			return e.Pool == k.Pool && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, k.Prefix.Contains)
		}) {
			m.Background.Go(func() { m.assertBlock(k, own) })
		}
	}
}

// assertBlock restores the record of one block of this node. Where it cannot, the next settling does.
func (m *Manager) assertBlock(k ipam.BlockID, own []netip.Prefix) {
	session, err := m.Holding(allocator.Stateless)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Assert(ctx, session, k.Pool, k.Prefix, own)
	if err == nil {
		m.Log.Warn("the record of a block of this node was deleted by hand; it is restored", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix))
		err = m.Own(session, b)
	}
	if err != nil && !m.Damaged(err) {
		m.Log.Warn("cannot restore the record of a block yet; the node settles again", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix), zap.Error(err))
		m.Reassert.Raise()
	}
}
