package allocator

import (
	"net/netip"
	"time"
)

// Where a pool's network has hosts besides containers, their addresses are unknown: the wire is probed ahead of need, a part of
// a block at a time. Until then an address is allocated only where nothing else is left, and with Grant.Probe.

// Ask switches on or off that the wire is probed for addresses that were never in use here.
func (s *Space) Ask(on bool) {
	if s.asking == on {
		return
	}
	s.asking = on
	for i := range s.slots {
		if t := &s.slots[i]; t.state == free {
			s.leave(int32(i))
			t.unasked = on
			s.enter(int32(i))
		}
	}
}

// Unasked are at most n unprobed addresses of one block, in the order in which they would be allocated.
func (s *Space) Unasked(n int) (all []netip.Addr) {
	var block int32
	for i := s.lists[unasked].head; i != none && len(all) < n; i = s.slots[i].links[byKind].next {
		if len(all) == 0 {
			block = i >> s.host()
		}
		if i>>s.host() == block {
			all = append(all, s.address(i))
		}
	}
	return all
}

// Asked says that an address was probed and is not in use on the wire.
func (s *Space) Asked(a netip.Addr) {
	if i := s.find(a); i != nowhere {
		t := &s.slots[i]
		s.leave(i)
		t.probe, t.unasked = false, false
		s.enter(i)
	}
}

// Occupied says that an address which is free here is in use on the wire: it is not allocated before the quarantine, counted from
// now, is over, and then the wire is probed again. One that is not to be chosen anyway, as the gateway, stays as it is.
func (s *Space) Occupied(a netip.Addr, now Instant, quarantine time.Duration) {
	i := s.find(a)
	if i == nowhere || s.slots[i].state != free || s.slots[i].excluded {
		return
	}
	s.leave(i)
	t := &s.slots[i]
	t.state, t.since, t.probe, t.unasked = quarantined, now+quarantine, true, false
	s.enter(i)
}

// Barred says that a machine itself has an address which no container has: it is not allocated before the rest, counted from now, is
// over, and then the wire is probed first. Nothing is kept for the app that it was released by.
func (s *Space) Barred(a netip.Addr, now Instant, rest time.Duration) {
	i := s.find(a)
	if i == nowhere || s.slots[i].state == held || s.slots[i].excluded {
		return
	}
	s.leave(i)
	t := &s.slots[i]
	s.apps.drop(t.app)
	t.app, t.state, t.since, t.probe, t.unasked = nobody, quarantined, now+rest, true, false
	s.enter(i)
}
