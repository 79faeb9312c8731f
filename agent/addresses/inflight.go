package addresses

import (
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// Withdraw takes a part that choose picks out of the allocator, and marks it as in flight; nil: there is none.
func (m *Manager) Withdraw(k SpaceKey, choose func(*allocator.Space) (netip.Prefix, bool)) *InFlight {
	p := &m.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.spaces[k]
	if !ok {
		return nil
	}
	part, ok := choose(s)
	if !ok {
		return nil
	}
	block, ok := m.Blocks.at(ipam.BlockID{Pool: k.Pool, Prefix: s.BlockOf(part.Addr())})
	if !ok {
		return nil // without a record it is not this node's
	}
	o := &InFlight{Space: k, Block: block, Part: part}
	p.inFlight = append(p.inFlight, o)
	return o
}

// Resolved ends a transfer: the block's record now, or a newer one that is known, decides whose the part is. The gate is not
// held.
func (m *Manager) Resolved(o *InFlight, now record.Block) {
	if now.Revision == 0 {
		now.Revision = o.Block.Revision // there is no record, and older updates are ignored
	}
	m.Blocks.Ended(now)
	if now.OwnerOf(o.Part.Addr()) != m.Name {
		m.Journal.ForgetWithin(o.Space.Pool, o.Part)
	}
	m.Pools.mu.Lock()
	m.Pools.inFlight = slices.DeleteFunc(m.Pools.inFlight, func(each *InFlight) bool { return each == o })
	m.Pools.mu.Unlock()
	m.Gate.Shared(func() { m.Reconcile(o.Block.ID()) })
}

// MarkIndeterminate keeps a part out of the allocator until the outcome of its transaction is known.
func (m *Manager) MarkIndeterminate(o *InFlight) {
	m.Pools.mu.Lock()
	defer m.Pools.mu.Unlock()
	o.indeterminate = true
}

// Indeterminate are the parts whose transaction's outcome is unknown.
func (m *Manager) Indeterminate() []*InFlight {
	m.Pools.mu.Lock()
	defer m.Pools.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.Pools.inFlight), func(o *InFlight) bool { return !o.indeterminate })
}
