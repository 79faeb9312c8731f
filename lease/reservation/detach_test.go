package reservation_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestADetachedReservationStaysItsOwners(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	first := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	for _, s := range []*lab.Store{x.Store, l.Store(), x.Store} { // with a cached one, without, and again
		l.Check(s.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
		r, err := s.Reservations.Of(t.Context(), "default", first.Address)
		l.Check(err)
		if r.Holder != nil || r.Identity != first.Identity || r.Epoch != first.Epoch || r.LastDel == nil || time.Since(*r.LastDel) > time.Hour {
			t.Errorf("detached is %+v", r)
		}
	}
}

func TestOnlyTheVeryAttachmentIsDetached(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	first := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	for what, change := range map[string]func(*reservation.Detachment){
		"another epoch":      func(d *reservation.Detachment) { d.Epoch-- },
		"a later epoch":      func(d *reservation.Detachment) { d.Epoch++ },
		"another container":  func(d *reservation.Detachment) { d.Attachment.Container = "c2" },
		"another member":     func(d *reservation.Detachment) { d.Identity.Member = "db-1" },
		"another address":    func(d *reservation.Detachment) { d.Addresses = []netip.Addr{first.Address.Next()} },
		"another pool":       func(d *reservation.Detachment) { d.Pool = "other" },
		"no address at all":  func(d *reservation.Detachment) { d.Addresses = nil },
		"an unknown address": func(d *reservation.Detachment) { d.Addresses = []netip.Addr{lab.Addr("10.99.0.1")} },
	} {
		for _, s := range []*lab.Store{x.Store, l.Store()} {
			d := detachment(first)
			change(&d)
			if err := s.Reservations.Detach(t.Context(), []reservation.Detachment{d}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r, err := s.Reservations.Of(t.Context(), "default", first.Address)
			l.Check(err)
			if r.Revision != first.Revision {
				t.Errorf("%s: it became %+v", what, r)
			}
		}
	}
}

func TestManyDetachmentsShareTransactionsEvenOfOneAddress(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	done, err := x.Reserve(t.Context(), set(config, "default", "db", 300, "c"))
	l.Check(err)
	all := detachments(done)
	late := detachment(done[7])
	late.Epoch--
	l.Check(l.Store().Reservations.Detach(t.Context(), []reservation.Detachment{all[3], all[3], late, all[4]}))
	s, transactions := counting(l, "detach")
	l.Check(s.Reservations.Detach(t.Context(), append(all, all[0], late)))
	if n := transactions.answered.Load(); n > 12 {
		t.Errorf("it took %d transactions", n)
	}
	reservations, err := s.Reservations.List(t.Context())
	l.Check(err)
	for _, r := range reservations {
		if r.Holder != nil {
			t.Errorf("still attached is %+v", r)
		}
	}
}

func TestADamagedReservationKeepsNoOtherFromBeingDetached(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	done, err := x.Reserve(t.Context(), set(config, "default", "db", reservation.DetachOps+3, "c"))
	l.Check(err)
	const damaged = reservation.DetachOps + 1 // in the second group
	l.Put(x.Store.KV.Keys.Reservation("default", done[damaged].Address), "{")
	for _, s := range []*lab.Store{l.Store(), x.Store} { // without cached reservations, and with
		err = s.Reservations.Detach(t.Context(), detachments(done))
		failed, is := errors.AsType[*reservation.DetachError](err)
		if !is || len(failed.Each) != 1 || failed.Each[damaged] == nil || !lab.Contains(err, done[damaged].Address.String()) {
			t.Errorf("it failed with %v: want the damaged one to be named, and no other", err)
		}
	}
	reservations, err := x.Store.Reservations.List(t.Context())
	l.Check(err)
	if len(reservations) != len(done)-1 {
		t.Errorf("%d can be read: want all but one of %d", len(reservations), len(done))
	}
	for _, r := range reservations {
		if r.Holder != nil {
			t.Errorf("still attached is %+v", r)
		}
	}
}
