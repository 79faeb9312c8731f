package agent

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

// reconcile brings the allocator to what is known of blocks: it owns what is this node's, but for what is on its way
// out or shunned, and nothing else. Who has an address in another's part is isolated. It returns the blocks of which
// addresses have come in. The gate is held, so that settling does not come between.
func (a *Agent) reconcile(keys ...ipam.BlockID) (gained []ipam.BlockID) {
	if broken.Settling && a.unsettled.Load() {
		return nil
	}
	for _, k := range keys {
		b, known := a.blocks.at(k)
		if known {
			a.isolateLost(b)
		}
		if a.reconcileSpace(k) > 0 {
			gained = append(gained, k)
			a.foreign.asking.Raise()
			a.freed(spaceKey{k.Pool, allocator.FamilyOf(k.Prefix.Addr())})
		}
	}
	a.keepShunned()
	return gained
}

// reconcileSpace reads what is known of the block under the allocator's lock: what left the allocator by an older word
// does not come back.
func (a *Agent) reconcileSpace(k ipam.BlockID) (gained int) {
	if pool, _, err := a.pool(k.Pool); err == nil && pool.BlockOf(k.Prefix.Addr()) != k.Prefix {
		return 0 // it is no block of the pool: somebody has written it by hand
	}
	p := &a.pools
	p.mu.Lock()
	defer p.mu.Unlock()
	b, known := a.blocks.at(k)
	own := b.Of(a.Node)
	ours := make([]netip.Prefix, len(own))
	for i, part := range own {
		ours[i] = part.Prefix
	}
	kept := p.kept(k, b, ours)
	s := p.spaces[spaceKey{k.Pool, allocator.FamilyOf(k.Prefix.Addr())}]
	if !known || s == nil {
		return 0 // missing is not lost
	}
	for _, part := range allocator.Subtract(k.Prefix, ours) {
		s.Drop(part)
	}
	if a.gate.SessionLocked() == nil {
		return 0 // nothing is this node's before it has settled
	}
	for _, part := range own {
		for _, gain := range allocator.Subtract(part.Prefix, kept) {
			gained += a.gain(s, k.Pool, gain, part.Taken)
		}
	}
	return gained
}

// gain adds a part to the allocator, with what the journal knows of its addresses. The allocator's lock is held.
func (a *Agent) gain(s *allocator.Space, pool string, part netip.Prefix, probe bool) int {
	freed := slices.DeleteFunc(a.journal.FreedWithin(pool, part), func(f journal.Freed) bool { return s.Owns(f.Address) })
	added := s.Add(part, probe)
	for _, e := range a.journal.Within(pool, part) {
		for _, addr := range e.Addresses {
			// The journal is asked anew: a DEL may have come since, which found nothing to give back.
			if part.Contains(addr) && !s.Holds(addr) && a.journal.Holder(pool, addr) != nil {
				_ = s.Hold(addr) // owned: cannot fail
			}
		}
	}
	for _, f := range freed {
		if a.journal.Holder(pool, f.Address) == nil && s.Hold(f.Address) == nil {
			s.Release(f.Address, f.App, f.At, f.Quarantine)
		}
	}
	return added
}

// isolateLost isolates whoever has an address in a part of b that is another's.
func (a *Agent) isolateLost(b record.Block) {
	if slices.ContainsFunc(b.Parts, func(p record.Part) bool { return p.Owner != a.Node }) {
		a.isolateWithin(b)
	}
}

func (a *Agent) isolateWithin(b record.Block) {
	lost := func(e *journal.Entry) *journal.Isolation {
		if e.Pool != b.Pool || e.Class != allocator.Stateless {
			return nil
		}
		for _, addr := range e.Addresses {
			if owner := b.OwnerOf(addr); b.Prefix.Contains(addr) && owner != "" && owner != a.Node {
				return &journal.Isolation{Epoch: journal.Never, Reason: fmt.Sprintf("address %s of block %s belongs to %s now", addr, b.Prefix, owner)}
			}
		}
		return nil
	}
	for _, e := range a.journal.Within(b.Pool, b.Prefix) {
		if lost(e) != nil {
			a.isolate(e.Attachment, lost)
		}
	}
}
