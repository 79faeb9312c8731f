package agent

import (
	"net"
	"net/netip"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// count counts what a failed request must not change: links of this host, entries, held addresses, reservations that are attached.
func (r *rig) count() [4]int {
	r.t.Helper()
	links, err := net.Interfaces()
	check(r.t, err)
	n := 0
	for _, l := range links {
		if l.Name != "berth0" {
			n++
		}
	}
	held := 0
	r.agent.addresses.Pools.Each(func(_ addresses.SpaceKey, s *allocator.Space) { held += s.Counts().Held })
	attached := 0
	reservations, err := r.store.Reservations.List(r.t.Context())
	check(r.t, err)
	for _, s := range reservations {
		if s.Holder != nil {
			attached++
		}
	}
	return [4]int{n, len(r.agent.Journal.Entries()), held, attached}
}

// empty fails unless nothing is held or assigned any more, in the journal, the kernel and etcd.
func (r *rig) empty() {
	r.t.Helper()
	r.until("nothing is held, assigned or attached", func() bool {
		assignments, err := r.store.Blocks.Assignments(r.t.Context())
		check(r.t, err)
		c := r.count()
		return len(assignments) == 0 && c[1]+c[2]+c[3] == 0 && len(r.agent.Journal.Pending()) == 0
	})
	ports, err := r.agent.Kernel().Ports()
	check(r.t, err)
	if len(ports) > 0 {
		r.t.Errorf("ports %v are left", ports)
	}
}

func (r *rig) assigned(addr netip.Addr) *record.Assignment {
	r.t.Helper()
	all, err := r.store.Blocks.Assignments(r.t.Context())
	check(r.t, err)
	for _, s := range all {
		if s.Address == addr {
			return &s
		}
	}
	return nil
}
