package lease

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// A record that somebody has deleted by hand is made again, and takes nothing from whoever has the address.
func TestWithoutItsIdentitysRecordAReservationIsStillItsHolders(t *testing.T) {
	for what, fence := range map[string]func(l *lab, s *Store, had record.Reservation){
		"on this node": func(*lab, *Store, record.Reservation) {},
		"on a live node": func(l *lab, s *Store, r record.Reservation) {
			r.Holder.Node = "n2"
			l.rewrite(s, r)
			l.join(s, "n2")
		},
		"on a node that fences strictly, and may have its right yet": func(l *lab, s *Store, r record.Reservation) {
			r.Holder.Node = "n3"
			l.rewrite(s, r)
			strict := brief("n3")
			strict.Fencing = record.FencingStrict
			l.put(s.KV.Keys.Node("n3"), kv.Encode(strict))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			x := l.join(s, "n1")
			had := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
			fence(l, s, had)
			l.delete(s.KV.Keys.Under(kv.KindIdentity))
			for _, store := range []*Store{s, l.store()} { // with a hint, and without
				done, err := l.join(store, "n1").Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", 0), "c2")})
				if !isHeld(err) {
					t.Errorf("another container got %+v: %v", done, err)
				}
			}
			if all, err := s.Reservations.List(t.Context()); err != nil || len(all) != 1 || all[0].Epoch != had.Epoch {
				t.Errorf("the reservations are %+v, %v", all, err)
			}
		})
	}
}

// halfThere is a member whose identity's record is there, while its reservation is not.
func halfThere(t *testing.T) (*lab, *Store, reservation.Request) {
	l := newLab(t)
	s := l.store()
	q := asking(l.apply(s, smallest()), "default", identity("db", 0), "c1")
	l.reserve(l.join(s, "n1"), q)
	l.delete(s.KV.Keys.Under(kv.KindReservation))
	return l, s, q
}

func TestAnEndOfTheIdentityAloneLeavesNoReservationBehind(t *testing.T) {
	l, s, q := halfThere(t)
	ending, err := s.Reservations.Ending(t.Context(), q.Identity)
	l.check(err)
	l.reserve(l.join(l.store(), "n1"), q) // it is made again
	l.check(s.KV.Commit(t.Context(), 1, ending.Txn))
	if ending.Done {
		t.Error("the identity's record was ended from under its reservation")
	}
	l.agree(s)
}

func TestAReservationIsNotMadeAgainAfterItsIdentityHasEnded(t *testing.T) {
	l, s, q := halfThere(t)
	var once sync.Once
	own := l.store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "reserve" {
				once.Do(func() { // it has read that the identity has a record
					_, err := s.Reservations.End(t.Context(), q.Identity, true)
					l.check(err)
				})
			}
		}
	})
	l.agree(s, l.reserve(l.join(own, "n1"), q)...)
}

func TestARecordThatIsMissingIsAssertedAgain(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	q := asking(config, "default", identity("db", 0), "c1")
	first := l.reserve(x, q)[0]
	for _, key := range []string{s.KV.Keys.Reservation("default", first.Address), s.KV.Keys.Identity(q.Identity)} {
		l.delete(key)
		for _, store := range []*Store{s, l.store()} { // with a hint, and without
			if got := l.reserve(l.join(store, "n1"), q)[0]; got.Address != first.Address {
				t.Errorf("without %s the address is %s, and was %s", key, got.Address, first.Address)
			}
		}
		l.agree(s)
	}
}

// Whether a reservation may end was decided by what is compared when it ends.
func TestNothingComesBetweenALookAndAnEnd(t *testing.T) {
	l := newLab(t)
	s := l.store()
	q := asking(l.apply(s, smallest()), "default", identity("db", 0), "c1")
	x := l.join(s, "n1")
	had := l.reserve(x, q)[0]
	for what, key := range map[string]string{
		"the identity":    s.KV.Keys.Identity(q.Identity),
		"the reservation": s.KV.Keys.Reservation("default", had.Address),
	} {
		ending, err := s.Reservations.Ending(t.Context(), q.Identity)
		l.check(err)
		now, err := s.KV.Get(t.Context(), key)
		l.check(err)
		l.put(key, string(now.Kvs[0].Value))
		if err := s.KV.Commit(t.Context(), 1, ending.Txn); err != nil || ending.Done {
			t.Errorf("%s has changed, and it ended: %v", what, err)
		}
	}
}

// A member that was there before the request, and whose reservation somebody has deleted, does not end with the request.
func TestUndoingAnAttachmentEndsNoMemberWhoseReservationItMadeAgain(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	q := asking(config, "default", identity("db", 0), "c1")
	first := l.reserve(x, q)[0]
	l.delete(s.KV.Keys.Reservation("default", first.Address))
	for _, store := range []*Store{s, l.store()} { // with a hint, and without
		again := l.reserve(l.join(store, "n1"), q)[0]
		l.check(s.Reservations.EndMade(t.Context(), reservation.Detachment{
			Pool: "default", Addresses: []netip.Addr{again.Address}, Identity: q.Identity, Attachment: q.Attachment, Epoch: again.Epoch,
		}))
		all, err := s.Reservations.List(t.Context())
		if err != nil || len(all) != 1 || all[0].Address != first.Address || all[0].Holder != nil {
			t.Errorf("the member had %s, and has %+v: %v", first.Address, all, err)
		}
	}
}
