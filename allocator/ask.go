package allocator

import (
	"net/netip"
	"time"
)

// Where a pool's network has hosts besides containers, nobody knows which addresses those have: the wire is asked, ahead of
// need, a part of a block at a time. Until then an address is given only where nothing else is left, and with Grant.Probe.

// Ask says whether the wire is to be asked for what has never been in use here.
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

// Unasked are at most n addresses of one block that the wire is to be asked for, those first that would be taken first.
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

// Asked says that nobody on the wire has an address.
func (s *Space) Asked(a netip.Addr) {
	if i := s.find(a); i != nowhere {
		t := &s.slots[i]
		if t.state == absent {
			return
		}
		s.leave(i)
		t.probe, t.unasked = false, false
		s.enter(i)
	}
}

// Occupied says that somebody on the wire has an address that is free here: nobody is given it before the quarantine, counted
// from now, is over, and then the wire is asked again.
func (s *Space) Occupied(a netip.Addr, now Instant, quarantine time.Duration) {
	i := s.find(a)
	if i == nowhere || s.slots[i].state != free {
		return
	}
	s.leave(i)
	t := &s.slots[i]
	t.state, t.since, t.probe, t.unasked = quarantined, now+quarantine, true, false
	s.enter(i)
}
