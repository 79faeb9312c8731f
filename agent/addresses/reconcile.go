package addresses

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/record"
)

// Reconcile brings the allocator to what is known of blocks: it owns what is this node's, but for what is on its way
// out or shunned, and nothing else. Who has an address in another's part is isolated. It returns the blocks of which
// addresses have come in. The gate is held, so that settling does not come between.
func (a *Manager) Reconcile(keys ...ipam.BlockID) (gained []ipam.BlockID) {
	if broken.Settling && a.Unsettled.Load() {
		return nil
	}
	for _, k := range keys {
		b, known := a.Blocks.At(k)
		if known {
			a.IsolateLost(b)
		}
		if a.reconcileSpace(k) > 0 {
			gained = append(gained, k)
			a.Gained.Raise()
			a.Freed(SpaceOf(k.Pool, k.Prefix.Addr()))
		}
	}
	a.keepQuarantined()
	return gained
}

// reconcileSpace reads what is known of the block under the allocator's lock: what left the allocator by an older word
// does not come back.
func (a *Manager) reconcileSpace(k ipam.BlockID) (gained int) {
	if pool, _, err := a.Pool(k.Pool); err == nil && pool.BlockOf(k.Prefix.Addr()) != k.Prefix {
		return 0 // it is no block of the pool: somebody has written it by hand
	}
	p := &a.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	b, known := a.Blocks.At(k)
	own := b.Of(a.Name)
	ours := make([]netip.Prefix, len(own))
	for i, part := range own {
		ours[i] = part.Prefix
	}
	kept := p.kept(k, b, ours)
	s := p.spaces[SpaceOf(k.Pool, k.Prefix.Addr())]
	if !known || s == nil {
		return 0 // missing is not lost
	}
	for _, part := range allocator.Subtract(k.Prefix, ours) {
		s.Drop(part)
	}
	if a.Gate.SessionLocked() == nil {
		return 0 // nothing is this node's before it has settled
	}
	for _, part := range own {
		for _, gain := range allocator.Subtract(part.Prefix, kept) {
			gained += a.Gain(s, k.Pool, gain, part.Taken)
		}
	}
	return gained
}

// Gain adds a part to the allocator, with what the journal knows of its addresses. The allocator's lock is held.
func (a *Manager) Gain(s *allocator.Space, pool string, part netip.Prefix, probe bool) int {
	freed := slices.DeleteFunc(a.Journal.FreedWithin(pool, part), func(f journal.Freed) bool { return s.Owns(f.Address) })
	added := s.Add(part, probe)
	for _, e := range a.Journal.Within(pool, part) {
		for _, addr := range e.Addresses {
			// The journal is asked anew: a DEL may have come since, which found nothing to give back.
			if part.Contains(addr) && !s.Holds(addr) && a.Journal.Holder(pool, addr) != nil {
				_ = s.Hold(addr) // owned: cannot fail
			}
		}
	}
	for _, f := range freed {
		if a.Journal.Holder(pool, f.Address) == nil && s.Hold(f.Address) == nil {
			s.Release(f.Address, f.App, f.At, f.Quarantine)
		}
	}
	return added
}

// IsolateLost isolates whoever has an address in a part of b that is another's.
func (a *Manager) IsolateLost(b record.Block) {
	if slices.ContainsFunc(b.Parts, func(p record.Part) bool { return p.Owner != a.Name }) {
		a.isolateWithin(b)
	}
}

func (a *Manager) isolateWithin(b record.Block) {
	lost := func(e *journal.Entry) *journal.Isolation {
		if e.Pool != b.Pool || e.Class != allocator.Stateless {
			return nil
		}
		for _, addr := range e.Addresses {
			if owner := b.OwnerOf(addr); b.Prefix.Contains(addr) && owner != "" && owner != a.Name {
				return &journal.Isolation{Epoch: journal.Never, Reason: fmt.Sprintf("address %s of block %s belongs to %s now", addr, b.Prefix, owner)}
			}
		}
		return nil
	}
	for _, e := range a.Journal.Within(b.Pool, b.Prefix) {
		if lost(e) != nil {
			a.isolator.Isolate(e.Attachment, lost)
		}
	}
}

// SettleParts brings the allocator to what etcd says are this node's parts, and isolates who has an address in somebody
// else's. Where held is not nil, etcd's word counts only as far as it is among that. What was on its way out under a
// former session is decided by now. It runs under the gate.
func (a *Manager) SettleParts(blocks []record.Block, generation int64, held holdings) {
	a.Blocks.settle(blocks, generation)
	a.Pools.settle(blocks, a.Name, held, a.Journal.Forgot())
	keys := make([]ipam.BlockID, len(blocks))
	for i, b := range blocks {
		keys[i] = b.ID()
	}
	a.Reconcile(keys...)
	a.Journal.Forget(slices.DeleteFunc(a.Journal.Freed(), func(f journal.Freed) (owned bool) {
		a.Pools.On(f.Pool, f.Address, func(s *allocator.Space) { owned = s.Owns(f.Address) })
		return owned // else it is another's, or not even of a pool that there is
	}))
}

// LostAddress reports whether an entry has an address in a part that is known to be another's.
func (a *Manager) LostAddress(e *journal.Entry) bool {
	return e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		owner := a.OwnerOf(e.Pool, addr)
		return owner != "" && owner != a.Name
	})
}

// OwnerOf is who owns the part of an address, by what is known; empty: nobody, or it is not known.
func (a *Manager) OwnerOf(poolName string, addr netip.Addr) string {
	pool, _, err := a.Pool(poolName)
	if err != nil {
		return ""
	}
	b, _ := a.Blocks.Of(pool, addr)
	return b.OwnerOf(addr)
}
