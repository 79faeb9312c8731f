package allocator

import (
	"errors"
	"fmt"
)

// check is the invariant: each owned slot is in the one list of its kind, and in its app's if it is released; lists
// that go by time are in order; an app is known exactly while a slot was last its own.
func (s *Space) check() error {
	var errs []error
	apps := make([]int, len(s.apps.entries))
	for k, l := range s.lists {
		errs = append(errs, s.checkList(&l, byKind, func(t *slot) bool { return int(t.kind()) == k }, k == released || k == quarantined))
	}
	owned := 0
	for i := range s.slots {
		if s.slots[i].state != absent {
			owned++
			apps[s.slots[i].app]++
		}
	}
	for n := 1; n < len(apps); n++ {
		e := &s.apps.entries[n]
		if e.slots != apps[n] {
			errs = append(errs, fmt.Errorf("app %d counts %d slots of %d", n, e.slots, apps[n]))
		}
		if e.slots > 0 {
			errs = append(errs, s.checkList(&e.released, byApp, func(t *slot) bool { return t.kind() == released && int(t.app) == n }, true))
		}
	}
	total := 0
	for _, c := range s.chunks {
		total += c.owned
	}
	if total != owned || len(s.blocks)+len(s.spare) != len(s.chunks) {
		errs = append(errs, fmt.Errorf("chunks count %d addresses of %d", total, owned))
	}
	return errors.Join(errs...)
}

func (s *Space) checkList(l *list, by int, belongs func(*slot) bool, timed bool) error {
	want := 0
	for i := range s.slots {
		if s.slots[i].state != absent && belongs(&s.slots[i]) {
			want++
		}
	}
	n, prev := 0, none
	for i := l.head; i != none; i = s.slots[i].links[by].next {
		t := &s.slots[i]
		switch {
		case !belongs(t):
			return fmt.Errorf("slot %d is in a list of others", i)
		case t.links[by].prev != prev:
			return fmt.Errorf("slot %d does not point back to %d", i, prev)
		case timed && prev != none && s.slots[prev].since > t.since:
			return fmt.Errorf("slot %d is out of order", i)
		}
		n, prev = n+1, i
	}
	if n != want || l.len != n || l.tail != prev {
		return fmt.Errorf("a list of %d says %d, and %d belong in it", n, l.len, want)
	}
	return nil
}
