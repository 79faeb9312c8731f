package reservation

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// valid reports the first thing that keeps a set of requests from being tried.
func (r *call) valid(requests []Request) error {
	identities, asked := map[allocator.Identity]bool{}, map[ipam.Address]bool{}
	for _, q := range requests {
		if err := r.validOne(&q); err != nil {
			return err
		}
		if identities[q.Identity] {
			return fmt.Errorf("%s is there twice in the set", q.Identity)
		}
		identities[q.Identity] = true
		for _, a := range q.Addresses {
			if asked[ipam.Address{Pool: q.Pool.Name, Addr: a}] {
				return fmt.Errorf("address %s is asked for twice in the set", a)
			}
			asked[ipam.Address{Pool: q.Pool.Name, Addr: a}] = true
		}
	}
	return nil
}

func (r *call) validOne(q *Request) error {
	if err := q.Identity.Validate(); err != nil {
		return err
	}
	if r.attaches() {
		if err := q.Attachment.Validate(); err != nil {
			return err
		}
	}
	if q.PoolRevision <= 0 {
		return record.ErrStaleConfig
	}
	for _, f := range q.Pool.Giving() {
		if !slices.ContainsFunc(q.Pool.Stateful, func(p netip.Prefix) bool { return allocator.FamilyOf(p.Addr()) == f }) {
			return fmt.Errorf("pool %q has no stateful %s range: configure one, or choose another pool", q.Pool.Name, f)
		}
	}
	if len(q.Pool.Giving()) == 0 && !r.attaches() {
		return drained(q.Pool)
	}
	var seen [2]bool
	for _, a := range q.Addresses {
		if !q.Pool.InStateful(a) || !q.Pool.Usable(a) {
			return fmt.Errorf("address %s is none that pool %q has for reservations: want a usable one in %s", a, q.Pool.Name, q.Pool.Stateful)
		}
		f := allocator.FamilyOf(a)
		if seen[f] {
			return fmt.Errorf("address %s is the second %s one asked for: want one of each family at most", a, f)
		}
		seen[f] = true
	}
	return nil
}

// drained says why nothing is reserved for a new identity.
func drained(p allocator.Pool) error {
	return fmt.Errorf("pool %q is being drained: nothing is reserved in it any more: choose another one", p.Name)
}

// choose gives a new identity a candidate of each family, where it has none that may still be free.
func (r *call) choose(ctx context.Context, m *member) error {
	if m.tries%refreshAfter == 0 {
		if err := r.refresh(ctx, m.Pool.Name); err != nil {
			return err
		}
	}
	former := m.slots
	m.slots = nil
	for _, f := range m.Pool.Giving() {
		s, err := r.chooseOne(ctx, m, former, f)
		if err != nil {
			return err
		}
		m.slots = append(m.slots, s)
	}
	m.arrange()
	return nil
}

// chooseOne is a family's candidate: the former one where that may still be free, else another.
func (r *call) chooseOne(ctx context.Context, m *member, former []slot, f allocator.Family) (slot, error) {
	if s, ok := r.stillFree(m, former, f); ok {
		return s, nil
	}
	for {
		a, err := r.candidate(ctx, m, f)
		if err != nil {
			return slot{}, err
		}
		// The block's revision is read before its machines' addresses are: so a later change of those fails the compare. Where it has
		// become a node's own just now, the next candidate is another one, or none.
		s := slot{address: a, block: r.store.cache.block(m.blockOf(a)), candidate: true}
		if r.store.cache.machine(m.blockOf(a), a) == "" {
			return s, nil
		}
	}
}

// extend gives a known identity a candidate of each family that its pool has got since it was reserved its addresses.
func (r *call) extend(ctx context.Context, m *member) error {
	if m.pool != m.Pool.Name {
		return nil
	}
	for _, f := range m.lacking() {
		s, err := r.chooseOne(ctx, m, nil, f)
		if err != nil {
			return err
		}
		m.slots = append(m.slots, s)
	}
	m.arrange()
	return nil
}

// lacking are the families that the pool gives and of which the member has no slot.
func (m *member) lacking() []allocator.Family {
	return slices.DeleteFunc(m.Pool.Giving(), func(f allocator.Family) bool {
		return slices.ContainsFunc(m.slots, func(s slot) bool { return allocator.FamilyOf(s.address) == f })
	})
}

// extended reports whether a known identity is about to get an address more.
func (m *member) extended() bool {
	return m.reserved && slices.ContainsFunc(m.slots, func(s slot) bool { return s.candidate })
}

// stillFree finds a family's candidate among the former ones, if it is still free. A reservation of the identity itself does not
// count against it: then only the identity's record is missing. Where an address was asked for, no other one is a candidate.
func (r *call) stillFree(m *member, former []slot, f allocator.Family) (slot, bool) {
	asked, asks := m.asked(f)
	for _, s := range former {
		if allocator.FamilyOf(s.address) == f {
			return s, r.free(m, s.address) && (!asks || s.address == asked)
		}
	}
	return slot{}, false
}

// asked is the address of a family that the request asks for, if it does.
func (m *member) asked(f allocator.Family) (a netip.Addr, asks bool) {
	for _, a := range m.Addresses {
		if allocator.FamilyOf(a) == f {
			return a, true
		}
	}
	return a, false
}

// free reports whether nothing is known that keeps m from having an address.
func (r *call) free(m *member, a netip.Addr) bool {
	at := m.at(a)
	_, foreign := r.foreign[m.blockOf(a)]
	other := r.picked[at]
	_, taken := r.taken[at]
	return !taken && !foreign && (other == nil || other == m) && r.store.cache.machine(m.blockOf(a), a) == ""
}

func (r *call) candidate(ctx context.Context, m *member, f allocator.Family) (netip.Addr, error) {
	if a, asks := m.asked(f); asks {
		return a, r.mayAsk(m, a)
	}
	usable := uint64(0)
	taken := func(a netip.Addr) bool {
		usable++
		return !r.free(m, a) || r.listed[m.pool] == 0 && m.Taken != nil && m.Taken(a)
	}
	a, ok := m.Pool.PickStateful(f, m.Identity, taken)
	if !ok && r.listed[m.pool] != r.rounds {
		if err := r.refresh(ctx, m.pool); err != nil {
			return a, err
		}
		usable = 0
		a, ok = m.Pool.PickStateful(f, m.Identity, taken)
	}
	if !ok {
		return a, &ExhaustedError{Pool: m.pool, Family: f, Addresses: usable}
	}
	return a, nil
}

// mayAsk fails where the member cannot have the address that was asked for, as far as is known.
func (r *call) mayAsk(m *member, a netip.Addr) error {
	at := m.at(a)
	if b := r.foreign[m.blockOf(a)]; len(b.Parts) > 0 {
		return fmt.Errorf("lease: address %s was asked for, and its block %s belongs to %s", a, b.Prefix, b.OwnersInWords())
	}
	if node := r.store.cache.machine(m.blockOf(a), a); node != "" {
		return fmt.Errorf("lease: address %s was asked for, and it is one of node %s itself: ask for another one", a, node)
	}
	if other := r.picked[at]; other != nil && other != m {
		return fmt.Errorf("lease: address %s was asked for by %s, and %s of the same set has it", a, m.Identity, other.Identity)
	}
	if reservation := r.taken[at]; reservation.Revision > 0 { // else the next try reads whose it is, if that can be read
		return &ReservedError{Reservation: reservation}
	}
	return nil
}

// refresh reads which addresses of a pool are reserved, once a round.
func (r *call) refresh(ctx context.Context, pool string) error {
	if r.listed[pool] == r.rounds {
		return nil
	}
	response, err := r.store.kv.Scan(ctx, r.store.kv.Keys.Under(kv.KindReservation, pool), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	former := r.taken
	r.taken = map[ipam.Address]record.Reservation{}
	for at, reservation := range former {
		if at.Pool != pool {
			r.taken[at] = reservation
		}
	}
	for _, kv := range response.Kvs {
		if key, err := r.store.kv.Keys.Parse(string(kv.Key)); err == nil {
			at := ipam.Address{Pool: pool, Addr: key.Address}
			r.taken[at] = former[at]
		}
	}
	r.listed[pool] = r.rounds
	return nil
}
