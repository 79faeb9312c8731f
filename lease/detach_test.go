package lease

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/reservation"
)

func TestADetachedReservationStaysItsOwners(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	for _, s := range []*Store{x.store, l.store(), x.store} { // with a hint, without one, and again
		l.check(s.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
		r, err := s.Reservations.Of(t.Context(), "default", first.Address)
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
	for what, change := range map[string]func(*reservation.Detachment){
		"another epoch":      func(d *reservation.Detachment) { d.Epoch-- },
		"a later epoch":      func(d *reservation.Detachment) { d.Epoch++ },
		"another container":  func(d *reservation.Detachment) { d.Attachment.Container = "c2" },
		"another member":     func(d *reservation.Detachment) { d.Identity.Member = "db-1" },
		"another address":    func(d *reservation.Detachment) { d.Addresses = []netip.Addr{first.Address.Next()} },
		"another pool":       func(d *reservation.Detachment) { d.Pool = "other" },
		"no address at all":  func(d *reservation.Detachment) { d.Addresses = nil },
		"an unknown address": func(d *reservation.Detachment) { d.Addresses = []netip.Addr{addr("10.99.0.1")} },
	} {
		for _, s := range []*Store{x.store, l.store()} {
			d := detachment(first)
			change(&d)
			if err := s.Reservations.Detach(t.Context(), []reservation.Detachment{d}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r, err := s.Reservations.Of(t.Context(), "default", first.Address)
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
	l.check(s.Reservations.Detach(t.Context(), append(all, all[0], late)))
	if n := transactions.Load(); n > 12 {
		t.Errorf("it took %d transactions", n)
	}
	reservations, err := s.Reservations.List(t.Context())
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
	done, err := x.Reserve(t.Context(), set(config, "default", "db", reservation.DetachOps+3, "c"))
	l.check(err)
	const damaged = reservation.DetachOps + 1 // in the second group
	l.put(x.store.KV.Keys.Reservation("default", done[damaged].Address), "{")
	for _, s := range []*Store{l.store(), x.store} { // without hints, and with
		err = s.Reservations.Detach(t.Context(), detachments(done))
		failed, is := errors.AsType[*reservation.DetachError](err)
		if !is || len(failed.Each) != 1 || failed.Each[damaged] == nil || !contains(err, done[damaged].Address.String()) {
			t.Errorf("it failed with %v: want the damaged one to be named, and no other", err)
		}
	}
	reservations, err := x.store.Reservations.List(t.Context())
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
