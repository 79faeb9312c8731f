package lease

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestADetachedReservationStaysItsOwners(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	for _, s := range []*Store{x.store, l.store(), x.store} { // with a hint, without one, and again
		l.check(s.Detach(t.Context(), []Detachment{detachment(first)}))
		r, err := s.Reservation(t.Context(), "default", first.Address)
		l.check(err)
		if r.Holder != nil || r.Identity != first.Identity || r.Epoch != first.Epoch || r.LastDel == nil || time.Since(*r.LastDel) > time.Hour {
			t.Errorf("detached is %+v", r)
		}
	}
}

func TestOnlyTheVeryAttachmentIsDetached(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	for what, change := range map[string]func(*Detachment){
		"another epoch":      func(d *Detachment) { d.Epoch-- },
		"a later epoch":      func(d *Detachment) { d.Epoch++ },
		"another container":  func(d *Detachment) { d.Attachment.Container = "c2" },
		"another member":     func(d *Detachment) { d.Identity.Member = "db-1" },
		"another address":    func(d *Detachment) { d.Addresses = []netip.Addr{first.Address.Next()} },
		"another pool":       func(d *Detachment) { d.Pool = "other" },
		"no address at all":  func(d *Detachment) { d.Addresses = nil },
		"an unknown address": func(d *Detachment) { d.Addresses = []netip.Addr{addr("10.99.0.1")} },
	} {
		for _, s := range []*Store{x.store, l.store()} {
			d := detachment(first)
			change(&d)
			if err := s.Detach(t.Context(), []Detachment{d}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r, err := s.Reservation(t.Context(), "default", first.Address)
			l.check(err)
			if r.Revision != first.Revision {
				t.Errorf("%s: it became %+v", what, r)
			}
		}
	}
}

func TestManyDetachmentsShareTransactionsEvenOfOneAddress(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	done, err := x.Reserve(t.Context(), set(config, "default", "db", 300, "c"))
	l.check(err)
	all := detachments(done)
	late := detachment(done[7])
	late.Epoch--
	s, transactions := l.counting("detach")
	l.check(s.Detach(t.Context(), append(all, all[0], late)))
	if n := transactions.Load(); n > 12 {
		t.Errorf("it took %d transactions", n)
	}
	reservations, err := s.Reservations(t.Context())
	l.check(err)
	for _, r := range reservations {
		if r.Holder != nil {
			t.Errorf("still attached is %+v", r)
		}
	}
}

func TestADamagedReservationKeepsNoOtherFromBeingDetached(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	done, err := x.Reserve(t.Context(), set(config, "default", "db", detachOps+3, "c"))
	l.check(err)
	const damaged = detachOps + 1 // in the second group
	l.put(x.store.Client.keys.reservation("default", done[damaged].Address), "{")
	for _, s := range []*Store{l.store(), x.store} { // without hints, and with
		err = s.Detach(t.Context(), detachments(done))
		failed, is := errors.AsType[*DetachError](err)
		if !is || len(failed.Each) != 1 || failed.Each[damaged] == nil || !contains(err, done[damaged].Address.String()) {
			t.Errorf("it failed with %v: want the damaged one to be named, and no other", err)
		}
	}
	reservations, err := x.store.Reservations(t.Context())
	l.check(err)
	if len(reservations) != len(done)-1 {
		t.Errorf("%d can be read: want all but one of %d", len(reservations), len(done))
	}
	for _, r := range reservations {
		if r.Holder != nil {
			t.Errorf("still attached is %+v", r)
		}
	}
}
