package reservation

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// A member is one request under way: what is known of its reservations so far, which may be out of date. Each try either writes,
// and compares all that it relies on, or reads what the next try needs.
type member struct {
	Request
	call     *call
	reserved bool          // the identity has a record, which names the slots; else they are candidates
	identity int64         // that record's mod revision, where a reservation of it is missing; 0: there is none
	pool     string        // where the identity's addresses are
	slots    []slot        // one of each family
	fresh    bool          // all this was read within the call: a refusal may rely on it
	lookedUp string        // the node whose session and record the last try reads
	holder   currentHolder // what such a try has brought
	tries    int
	now      nest                 // the last try: its part of a transaction
	done     []record.Reservation // what the last try writes; once it is written, the answer
	settled  bool
}

// A slot is an address that the member has, or wants.
type slot struct {
	address     netip.Addr
	reservation record.Reservation // Revision 0: there is none
	block       int64              // the mod revision of its block, where that is stateful; 0: nobody is known to own it
	candidate   bool               // it was chosen in this call: the identity's record does not name it
}

// A currentHolder is the node of another attachment that has the reservation.
type currentHolder struct {
	node         string
	session      bool // it has one
	nodeRevision int64
	fencing      string
	nobody       bool // its name is free: see Node.Removed
}

// A step is what a member does next.
type step int

const (
	look  step = iota // read what the decision needs
	write             // and compare what the decision relies on
	keep              // the reservations are as the request wants them
)

func (r *call) newMember(request Request) *member {
	m := &member{Request: request, call: r, pool: request.Pool.Name}
	for _, cached := range r.store.cache.of(request.Identity) {
		if cached.Pool == m.pool && m.Pool.Contains(cached.Address) {
			m.slots = append(m.slots, slot{address: cached.Address, reservation: cached})
		}
	}
	if m.reserved = len(m.slots) > 0 && len(m.lacking()) == 0; !m.reserved {
		m.slots = nil
	}
	m.arrange()
	return m
}

// arrange orders the slots by family, and marks them as picked for the call's other members.
func (m *member) arrange() {
	slices.SortFunc(m.slots, func(a, b slot) int { return int(allocator.FamilyOf(a.address)) - int(allocator.FamilyOf(b.address)) })
	for _, s := range m.slots {
		m.call.picked[m.at(s.address)] = m
	}
}

// next decides. An error is final.
func (m *member) next() (step, error) {
	if !m.reserved && len(m.slots) == 0 { // its pool gives no address: only what it may have already is left
		if m.fresh {
			return look, drained(m.Pool)
		}
		return look, nil
	}
	if !m.reserved && (m.held().Holder == nil || !m.call.attaches()) {
		return write, nil
	}
	if err := m.refused(); err != nil {
		if m.fresh {
			return look, err
		}
		return look, nil
	}
	if !m.call.attaches() {
		return m.nextUnattached(), nil
	}
	h := m.held().Holder
	switch {
	case h == nil, h.Is(m.Attachment, m.call.node()), m.Release != nil && h.Is(m.Release.Attachment, m.Release.Node):
		if m.fresh || m.complete() {
			return write, nil
		}
		return look, nil
	case m.holder.node != h.Node: // who that is was not read yet
		return look, nil
	case h.Node == m.call.node() || !m.gone():
		return look, &HeldError{Reservation: m.held()}
	}
	return write, nil
}

// gone reports whether the current holder's node has no right to the reservation any more. In evidence mode, and where the node
// was removed, that is as soon as it has no session; in strict mode only once its right was waited for. Where the node's record is
// missing, since somebody may have deleted it, the cluster's mode counts.
func (m *member) gone() bool {
	r := &m.holder
	switch {
	case r.session:
		return false
	case r.nobody, r.fencing == record.FencingEvidence, r.nodeRevision == 0 && m.Fencing != record.FencingStrict:
		return true
	}
	return m.Waited != nil && m.Waited(record.Absence{Node: r.node, Revision: r.nodeRevision})
}

func (m *member) nextUnattached() step {
	ended := slices.ContainsFunc(m.slots, func(s slot) bool { return s.reservation.Ended != nil })
	switch {
	case !m.fresh:
		return look
	case ended || !m.complete():
		return write
	}
	return keep
}

// refused says why a known identity cannot have what the request asks for.
func (m *member) refused() error {
	if m.pool != m.Pool.Name {
		return fmt.Errorf("lease: %s has its addresses %s in pool %q, not in %q: release them first, or ask for that pool",
			m.Identity, m.addresses(), m.pool, m.Pool.Name)
	}
	for _, a := range m.Addresses {
		if !slices.ContainsFunc(m.slots, func(s slot) bool { return s.address == a }) {
			return fmt.Errorf("lease: address %s was asked for, and %s has %s: release that first, or ask for none", a, m.Identity, m.addresses())
		}
	}
	for _, s := range m.slots {
		if s.reservation.Revision > 0 && s.reservation.Identity != m.Identity {
			return &ReservedError{Reservation: s.reservation}
		}
	}
	return nil
}

// complete reports whether every slot's reservation is known.
func (m *member) complete() bool {
	return !slices.ContainsFunc(m.slots, func(s slot) bool { return s.reservation.Revision == 0 })
}

func (m *member) addresses() (all []netip.Addr) {
	for _, s := range m.slots {
		all = append(all, s.address)
	}
	return all
}

// held is the first of its reservations that somebody has; the zero one: nobody has any.
func (m *member) held() record.Reservation {
	for _, s := range m.slots {
		if s.reservation.Holder != nil {
			return s.reservation
		}
	}
	return record.Reservation{}
}

// wanted are the reservations as the member wants them. Those of two families have one epoch.
func (m *member) wanted(now time.Time) []record.Reservation {
	var epoch int64
	for _, s := range m.slots {
		epoch = max(epoch, s.reservation.Epoch)
	}
	if m.reserved && epoch == 0 && !m.complete() { // it is made again: nothing late of its former epochs may count for it
		epoch = max(m.identity, 1)
	}
	wanted := make([]record.Reservation, len(m.slots))
	for i, s := range m.slots {
		r := s.reservation
		if r.Revision == 0 {
			r = record.Reservation{Pool: m.pool, Address: s.address, Identity: m.Identity, Since: now}
		}
		r.Ended, r.Epoch = nil, epoch
		if m.call.attaches() {
			// The same attachment again gets a new epoch, too: a detachment of the former one that is still under way comes late.
			r.LastDel, r.Epoch = nil, epoch+1
			r.Holder = &record.Holder{Attachment: m.Attachment, Workload: m.Workload, Node: m.call.node(), Since: now}
		}
		wanted[i] = r
	}
	return wanted
}

func (m *member) at(a netip.Addr) ipam.Address { return ipam.Address{Pool: m.pool, Addr: a} }

func (m *member) blockOf(a netip.Addr) ipam.BlockID {
	return ipam.BlockID{Pool: m.pool, Prefix: m.Pool.BlockOf(a)}
}
