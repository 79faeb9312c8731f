package allocator

import (
	"net/netip"
	"time"
)

// Allocate gives an address to a container of app (the zero App is no app): the one that the app released last, if that was
// within the reuse window; else the one that has been free longest, never-used ones first. One that was released within the
// cooldown goes to another app only if cooling is set and nothing else is left.
func (s *Space) Allocate(app App, now Instant, cooling bool) (Grant, Outcome) {
	s.Settle(now)
	if i := s.apps.last(app); i != none && now < s.slots[i].since+s.reuse {
		return s.hold(i, Reused), Taken
	}
	if i := s.lists[free].head; i != none {
		return s.hold(i, Fresh), Taken
	}
	i := s.lists[released].head
	if first := s.lists[unasked].head; first != none && (i == none || now < s.slots[i].since+s.cooldown) {
		return s.hold(first, Fresh), Taken
	}
	switch {
	case i == none:
		return Grant{}, Exhausted
	case now < s.slots[i].since+s.cooldown && !cooling:
		return Grant{}, Cooling
	}
	return s.hold(i, Fresh), Taken
}

// AllocateAddress gives the requested address a, regardless of its last app and the cooldown, but not of a quarantine. It is
// ErrNotOwned, ErrHeld, ErrExcluded or ErrQuarantined. It takes no time, so that Settle must come before it.
func (s *Space) AllocateAddress(a netip.Addr) (Grant, error) {
	i := s.find(a)
	if i == nowhere {
		return Grant{}, ErrNotOwned
	}
	switch s.slots[i].kind() {
	case held:
		return Grant{}, ErrHeld
	case excluded:
		return Grant{}, ErrExcluded
	case quarantined:
		return Grant{}, ErrQuarantined
	}
	return s.hold(i, Fresh), nil
}

// Hold marks a as held, regardless of exclusions, quarantine and cooldown: recovery has found it in use. Holding a held address
// is no error; for what the node does not own it is ErrNotOwned.
func (s *Space) Hold(a netip.Addr) error {
	i := s.find(a)
	if i == nowhere {
		return ErrNotOwned
	}
	if s.slots[i].state != held {
		s.hold(i, Fresh)
	}
	return nil
}

// Release frees a: it is kept for app during the reuse window, and from others during the cooldown. Both count from now, or from
// the end of the quarantine, during which it is not allocated. Releasing what is not held does nothing.
func (s *Space) Release(a netip.Addr, app App, now Instant, quarantine time.Duration) {
	s.Settle(now)
	i := s.find(a)
	if i == nowhere || s.slots[i].state != held {
		return
	}
	s.leave(i)
	t := &s.slots[i]
	last := t.app
	t.app = s.apps.keep(app)
	s.apps.drop(last)
	t.state, t.since, t.probe, t.unasked = released, now, false, false
	if quarantine > 0 {
		t.state, t.since = quarantined, now+quarantine
	}
	s.enter(i)
}

// Suspect frees an allocated address that is in use on the wire: it is not allocated before the quarantine, counted from now, is
// over, and then it is granted with Probe again.
func (s *Space) Suspect(a netip.Addr, now Instant, quarantine time.Duration) {
	s.Settle(now)
	i := s.find(a)
	if i == nowhere || s.slots[i].state != held {
		return
	}
	s.leave(i)
	t := &s.slots[i]
	s.apps.drop(t.app)
	t.app, t.probe = nobody, true
	t.state, t.since = quarantined, now+quarantine
	s.enter(i)
}

// Undo frees an allocated address that was never on a wire: it is as it was before, and a free one is allocated next.
func (s *Space) Undo(a netip.Addr) {
	i := s.find(a)
	if i == nowhere || s.slots[i].state != held {
		return
	}
	s.leave(i)
	s.slots[i].state = s.slots[i].before
	s.enter(i)
	if k := s.slots[i].kind(); k == free || k == unasked {
		s.remove(&s.lists[k], byKind, i)
		s.insert(&s.lists[k], byKind, i, none)
	}
}

// Settle ends the quarantines that are over. All functions with a time do it by themselves.
func (s *Space) Settle(now Instant) {
	for i := s.lists[quarantined].head; i != none && s.slots[i].since <= now; i = s.lists[quarantined].head {
		s.leave(i)
		t := &s.slots[i]
		if t.state = released; t.probe && s.asking {
			t.state, t.unasked = free, true
		}
		s.enter(i)
	}
}

func (s *Space) hold(i int32, from Source) Grant {
	s.leave(i)
	t := &s.slots[i]
	t.before, t.state = t.state, held
	s.enter(i)
	return Grant{Address: s.address(i), Source: from, Probe: t.probe || t.unasked}
}
