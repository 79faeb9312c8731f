package reservation_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// A record that somebody has deleted by hand is made again, and takes nothing from whoever has the address.
func TestWithoutItsIdentitysRecordAReservationIsStillItsHolders(t *testing.T) {
	for what, fence := range map[string]func(l *lab.Lab, s *lab.Store, had record.Reservation){
		"on this node": func(*lab.Lab, *lab.Store, record.Reservation) {},
		"on a live node": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder.Node = "n2"
			rewrite(l, s, r)
			l.Join(s, "n2")
		},
		"on a node that fences strictly, and may have its right yet": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder.Node = "n3"
			rewrite(l, s, r)
			strict := lab.Brief("n3")
			strict.Fencing = record.FencingStrict
			l.Put(s.KV.Keys.Node("n3"), kv.Encode(strict))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			x := l.Join(s, "n1")
			had := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
			fence(l, s, had)
			l.Delete(s.KV.Keys.Under(kv.KindIdentity))
			for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
				done, err := l.Join(store, "n1").Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c2")})
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
func halfThere(t *testing.T) (*lab.Lab, *lab.Store, reservation.Request) {
	l := lab.New(t)
	s := l.Store()
	q := lab.Asking(l.Apply(s, lab.Smallest()), "default", lab.Identity("db", 0), "c1")
	l.Reserve(l.Join(s, "n1"), q)
	l.Delete(s.KV.Keys.Under(kv.KindReservation))
	return l, s, q
}

func TestAnEndOfTheIdentityAloneLeavesNoReservationBehind(t *testing.T) {
	l, s, q := halfThere(t)
	ending, err := s.Reservations.Ending(t.Context(), q.Identity)
	l.Check(err)
	l.Reserve(l.Join(l.Store(), "n1"), q) // it is made again
	l.Check(s.KV.Commit(t.Context(), 1, ending.Txn))
	if ending.Done {
		t.Error("the identity's record was ended from under its reservation")
	}
	agree(l, s)
}

func TestAReservationIsNotMadeAgainAfterItsIdentityHasEnded(t *testing.T) {
	l, s, q := halfThere(t)
	var once sync.Once
	own := l.Store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "reserve" {
				once.Do(func() { // it has read that the identity has a record
					_, err := s.Reservations.End(t.Context(), q.Identity, true)
					l.Check(err)
				})
			}
		}
	})
	agree(l, s, l.Reserve(l.Join(own, "n1"), q)...)
}

func TestARecordThatIsMissingIsAssertedAgain(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	q := lab.Asking(config, "default", lab.Identity("db", 0), "c1")
	first := l.Reserve(x, q)[0]
	for _, key := range []string{s.KV.Keys.Reservation("default", first.Address), s.KV.Keys.Identity(q.Identity)} {
		for _, asked := range [][]netip.Addr{nil, {first.Address}} {
			q.Addresses = asked
			l.Delete(key)
			for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
				if got := l.Reserve(l.Join(store, "n1"), q)[0]; got.Address != first.Address {
					t.Errorf("without %s the address is %s, and was %s", key, got.Address, first.Address)
				}
			}
			agree(l, s)
		}
	}
}

// Whether a reservation may end was decided by what is compared when it ends.
func TestNothingComesBetweenALookAndAnEnd(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	q := lab.Asking(l.Apply(s, lab.Smallest()), "default", lab.Identity("db", 0), "c1")
	x := l.Join(s, "n1")
	had := l.Reserve(x, q)[0]
	for what, key := range map[string]string{
		"the identity":    s.KV.Keys.Identity(q.Identity),
		"the reservation": s.KV.Keys.Reservation("default", had.Address),
	} {
		ending, err := s.Reservations.Ending(t.Context(), q.Identity)
		l.Check(err)
		now, err := s.KV.Get(t.Context(), key)
		l.Check(err)
		l.Put(key, string(now.Kvs[0].Value))
		if err := s.KV.Commit(t.Context(), 1, ending.Txn); err != nil || ending.Done {
			t.Errorf("%s has changed, and it ended: %v", what, err)
		}
	}
}

// A member that was there before the request, and whose reservation somebody has deleted, does not end with the request.
func TestUndoingAnAttachmentEndsNoMemberWhoseReservationItMadeAgain(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	q := lab.Asking(config, "default", lab.Identity("db", 0), "c1")
	first := l.Reserve(x, q)[0]
	l.Delete(s.KV.Keys.Reservation("default", first.Address))
	for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
		again := l.Reserve(l.Join(store, "n1"), q)[0]
		l.Check(s.Reservations.EndMade(t.Context(), reservation.Detachment{
			Pool: "default", Addresses: []netip.Addr{again.Address}, Identity: q.Identity, Attachment: q.Attachment, Epoch: again.Epoch,
		}))
		all, err := s.Reservations.List(t.Context())
		if err != nil || len(all) != 1 || all[0].Address != first.Address || all[0].Holder != nil {
			t.Errorf("the member had %s, and has %+v: %v", first.Address, all, err)
		}
	}
}
