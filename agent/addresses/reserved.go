package addresses

import (
	"net/netip"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// reserved are the stateful addresses that are known to be reserved. It only guides choices.
type reserved struct {
	mu    lockorder.Subject
	pools map[string]map[netip.Addr]int64 // by the revision of the record
}

func (r *reserved) Taken(pool string) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, ok := r.pools[pool][addr]
		return ok
	}
}

func (r *reserved) Apply(u kv.Update[record.Reservation]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.Full || r.pools == nil {
		r.pools = map[string]map[netip.Addr]int64{}
	}
	for _, e := range u.Repaired {
		delete(r.pools[e.At.Pool], e.At.Address)
	}
	for _, e := range u.Bad { // reserved, and unknown for whom
		if e.At.Kind == kv.KindReservation {
			r.put(e.At.Pool, e.At.Address, e.Revision)
		}
	}
	for _, s := range u.Set {
		r.put(s.Pool, s.Address, s.Revision)
	}
	for _, g := range u.Gone {
		delete(r.pools[g.Pool], g.Address)
	}
}

func (r *reserved) put(pool string, a netip.Addr, revision int64) {
	if r.pools[pool] == nil {
		r.pools[pool] = map[netip.Addr]int64{}
	}
	r.pools[pool][a] = revision
}
