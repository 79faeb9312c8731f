package addresses

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Reconcile brings the allocator into agreement with the view of blocks: it owns what is this node's, except what is in flight or
// in quarantine. Containers with an address in another node's part are isolated. It returns the blocks of which addresses were
// gained. The gate is held, so that nothing settles meanwhile.
func (m *Manager) Reconcile(keys ...ipam.BlockID) (gained []ipam.BlockID) {
	for _, k := range keys {
		b, known := m.Blocks.at(k)
		if known {
			m.IsolateLost(b)
		}
		gain, lost := m.reconcileSpace(k)
		for _, part := range lost {
			m.Journal.ForgetWithin(k.Pool, part) // an agent that starts while etcd recovers would take what was freed for its own
		}
		if gain > 0 {
			gained = append(gained, k)
			m.Gained.Raise()
			m.Freed(SpaceOf(k.Pool, k.Prefix.Addr()))
		}
	}
	m.keepQuarantined()
	return gained
}

// reconcileSpace reads the view of the block under the allocator's lock, so that an older update does not bring back what has
// left the allocator. It returns the parts that are not this node's.
func (m *Manager) reconcileSpace(k ipam.BlockID) (gained int, lost []netip.Prefix) {
	if pool, _, err := m.Pool(k.Pool); err == nil && pool.BlockOf(k.Prefix.Addr()) != k.Prefix {
		return 0, nil // no block of the pool: it was written by hand
	}
	p := &m.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	b, known := m.Blocks.at(k)
	own := b.Of(m.Name)
	ours := make([]netip.Prefix, len(own))
	for i, part := range own {
		ours[i] = part.Prefix
	}
	kept := p.kept(k, b, ours)
	s := p.spaces[SpaceOf(k.Pool, k.Prefix.Addr())]
	if !known || s == nil {
		return 0, nil // a missing record does not mean that the block is lost
	}
	lost = allocator.Subtract(k.Prefix, ours)
	for _, part := range lost {
		s.Drop(part)
	}
	if !m.Gate.SettledLocked() {
		return 0, lost // a node owns nothing before it has settled, least of all what a restored etcd says
	}
	for _, part := range own {
		for _, gain := range allocator.Subtract(part.Prefix, kept) {
			gained += m.Gain(s, k.Pool, gain, part.Taken)
		}
	}
	return gained, lost
}

// Gain adds a part to the allocator, with the journal's addresses in it, and rests those of machines. The allocator's lock is held.
func (m *Manager) Gain(s *allocator.Space, pool string, part netip.Prefix, probe bool) int {
	freed := slices.DeleteFunc(m.Journal.FreedWithin(pool, part), func(f journal.Freed) bool { return s.Owns(f.Address) })
	added := s.Add(part, probe)
	for _, e := range m.Journal.Within(pool, part) {
		for _, addr := range e.Addresses {
			// The journal is read again: a DEL meanwhile would have found no address to release.
			if part.Contains(addr) && !s.Holds(addr) && m.Journal.Holder(pool, addr) != nil {
				_ = s.Hold(addr) // owned: cannot fail
			}
		}
	}
	for _, f := range freed {
		if m.Journal.Holder(pool, f.Address) == nil && s.Hold(f.Address) == nil {
			s.Release(f.Address, f.App, f.At, f.Quarantine)
		}
	}
	m.restMachines(s, pool, part)
	return added
}

// IsolateLost isolates the containers with an address in another node's part of a block.
func (m *Manager) IsolateLost(b record.Block) {
	if slices.ContainsFunc(b.Parts, func(p record.Part) bool { return p.Owner != m.Name }) {
		m.isolateWithin(b)
	}
}

func (m *Manager) isolateWithin(b record.Block) {
	lost := func(e *journal.Entry) *journal.Isolation {
		if e.Pool != b.Pool || e.Class != allocator.Stateless {
			return nil
		}
		for _, addr := range e.Addresses {
			if owner := b.OwnerOf(addr); b.Prefix.Contains(addr) && owner != "" && owner != m.Name {
				return &journal.Isolation{Epoch: journal.Never, Reason: fmt.Sprintf("address %s of block %s belongs to %s now", addr, b.Prefix, owner)}
			}
		}
		return nil
	}
	for _, e := range m.Journal.Within(b.Pool, b.Prefix) {
		if lost(e) != nil {
			m.isolator.Isolate(e.Attachment, lost)
		}
	}
}

// LostAddress reports whether an entry has an address in a part that is known to be another node's.
func (m *Manager) LostAddress(e *journal.Entry) bool {
	return e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		owner := m.OwnerOf(e.Pool, addr)
		return owner != "" && owner != m.Name
	})
}

// OwnerOf is the known owner of the part of an address; empty: it has none, or it is unknown.
func (m *Manager) OwnerOf(poolName string, addr netip.Addr) string {
	pool, _, err := m.Pool(poolName)
	if err != nil {
		return ""
	}
	b, _ := m.Blocks.Of(pool, addr)
	return b.OwnerOf(addr)
}

// Own adds a claimed block to the allocator, if the claim's session is still the node's; else settling has added it.
func (m *Manager) Own(session *session.Session, b record.Block) error {
	return m.Gate.Commit(session, func() error {
		m.Blocks.Put(b)
		m.Reconcile(b.ID())
		return nil
	})
}

// keepQuarantined writes the quarantine to the journal.
func (m *Manager) keepQuarantined() {
	p := &m.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quarantined.changed {
		return
	}
	var all []journal.Quarantined
	for k, parts := range p.quarantined.parts {
		all = append(all, journal.Quarantined{Pool: k.Pool, Block: k.Prefix, Parts: parts})
	}
	m.Journal.SetQuarantined(all)
	p.quarantined.changed = false
}
