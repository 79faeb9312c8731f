package reservation_test

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// assertion is what a node knows of a reservation that it has.
func assertion(c *config.Config, r record.Reservation) reservation.Assertion {
	return reservation.Assertion{
		Pool: c.Pools[r.Pool], Identity: r.Identity, Attachment: r.Holder.Attachment, Addresses: []netip.Addr{r.Address}, Epoch: r.Epoch,
	}
}

func TestAReservationThatEtcdLostIsAssertedAgain(t *testing.T) {
	for what, lose := range map[string]func(l *lab.Lab, s *lab.Store, r record.Reservation){
		"all of it":       func(l *lab.Lab, s *lab.Store, r record.Reservation) { l.Delete(s.KV.Keys.Prefix) },
		"the record":      func(l *lab.Lab, s *lab.Store, r record.Reservation) { l.Delete(s.KV.Keys.Under(kv.KindReservation)) },
		"the identity":    func(l *lab.Lab, s *lab.Store, r record.Reservation) { l.Delete(s.KV.Keys.Under(kv.KindIdentity)) },
		"the block":       func(l *lab.Lab, s *lab.Store, r record.Reservation) { l.Delete(s.KV.Keys.Under(kv.KindBlock)) },
		"that it is held": func(l *lab.Lab, s *lab.Store, r record.Reservation) { r.Holder = nil; rewrite(l, s, r) },
		"the latest move": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n9", r.Epoch-1
			rewrite(l, s, r)
			l.Void(s) // etcd has gone back, and all recover
		},
		"a whole incarnation after": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder, r.Epoch = nil, r.Epoch+3
			rewrite(l, s, r)
		},
		"nothing": func(*lab.Lab, *lab.Store, record.Reservation) {},
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			had := l.Reserve(l.Join(s, "n1"), lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
			lose(l, s, had)
			epoch, ok, err := reservation.Assert(t.Context(), l.Join(s, "n1").Session, assertion(config, had))
			l.Check(err)
			now, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.Check(err)
			if !ok || now == nil || !now.Holder.Is(lab.Attachment("c1"), "n1") || now.Epoch != epoch || epoch < had.Epoch {
				t.Fatalf("asserted %v with epoch %d: etcd has %+v", ok, epoch, now)
			}
			agree(l, s, *now)
		})
	}
}

func TestAnothersReservationIsNotAssertedOver(t *testing.T) {
	for what, change := range map[string]func(l *lab.Lab, s *lab.Store, r record.Reservation){
		"attached elsewhere since": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n2", r.Epoch+1
			rewrite(l, s, r)
		},
		"attached elsewhere with the first epoch of another incarnation": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n2", r.Epoch-1
			rewrite(l, s, r)
		},
		"attached elsewhere with the same epoch": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Holder = &record.Holder{Attachment: lab.Attachment("c2"), Node: "n1"}
			rewrite(l, s, r)
		},
		"another identity's": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			r.Identity, r.Holder = lab.Identity("db", 7), nil
			rewrite(l, s, r)
		},
		"a node's block": func(l *lab.Lab, s *lab.Store, r record.Reservation) {
			l.Delete(s.KV.Keys.Prefix)
			pool := lab.Smallest()
			settled := pool.WithDefaults()
			at := settled.BlockOf(r.Address)
			l.Put(s.KV.Keys.Block(r.Pool, at), kv.Encode(record.Block{Prefix: at, Parts: []record.Part{{Prefix: at, Owner: "n2"}}}))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			had := l.Reserve(l.Join(s, "n1"), lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
			change(l, s, had)
			before, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.Check(err)
			_, ok, err := reservation.Assert(t.Context(), l.Join(s, "n1").Session, assertion(config, had))
			l.Check(err)
			after, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.Check(err)
			if ok || (before == nil) != (after == nil) || before != nil && after.Revision != before.Revision {
				t.Errorf("asserted %v: before %+v, after %+v", ok, before, after)
			}
		})
	}
}

// A node that was away for long remembers epochs that the identity does not have any more: it was given up meanwhile,
// reserved anew, and counts from one again.
func TestAMemberThatWasReservedAnewIsNotTakenBackByItsFormerNode(t *testing.T) {
	for what, asked := range map[string][]netip.Addr{"with the same address": nil, "with another address": {lab.Addr("10.42.9.9")}} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			id, former := lab.Identity("db", 0), l.Join(s, "n1")
			for range 2 {
				l.Reserve(former, lab.Asking(config, "default", id, "c1"))
			}
			had := l.Reserve(former, lab.Asking(config, "default", id, "c1"))[0]
			_, err := s.Reservations.End(t.Context(), id, true)
			l.Check(err)
			now := l.Reserve(l.Join(l.Store(), "n2"), lab.Asking(config, "default", id, "c2", asked...))[0]
			if now.Epoch >= had.Epoch || (now.Address == had.Address) != (asked == nil) {
				t.Fatalf("it had %+v, and has %+v", had, now)
			}

			_, ok, err := reservation.Assert(t.Context(), l.Join(s, "n1").Session, assertion(config, had))
			l.Check(err)
			if all, err := s.Reservations.List(t.Context()); ok || err != nil || len(all) != 1 || all[0].Revision != now.Revision {
				t.Errorf("asserted %v: the reservations are %+v, %v", ok, all, err)
			}
		})
	}
}

// What an assertion has read is compared by what it writes.
func TestNothingComesBetweenALookAndAnAssertion(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := l.Apply(s, lab.Smallest()).Pools["default"]
	a := reservation.Assertion{Pool: pool, Identity: lab.Identity("db", 0), Attachment: lab.Attachment("c1"),
		Addresses: []netip.Addr{lab.Addr("10.42.0.9")}, Epoch: 1}
	x := l.Join(s, "n1")
	for what, key := range map[string]string{
		"the identity":    s.KV.Keys.Identity(a.Identity),
		"the reservation": s.KV.Keys.Reservation("default", a.Addresses[0]),
		"the block":       s.KV.Keys.Block("default", pool.BlockOf(a.Addresses[0])),
	} {
		assertion, ok, err := reservation.AssertPlan(t.Context(), x.Session, a)
		l.Check(err)
		l.Put(key, "{}")
		if !ok || assertion == nil {
			t.Fatalf("%s: asserted would be %+v, %v", what, assertion, ok)
		}
		if err := s.KV.Commit(t.Context(), 1, assertion); err != nil || assertion.Done {
			t.Errorf("%s has changed, and the assertion went through: %v", what, err)
		}
		l.Delete(key)
	}
}

func rewrite(l *lab.Lab, s *lab.Store, r record.Reservation) {
	l.Helper()
	l.Put(s.KV.Keys.Reservation(r.Pool, r.Address), kv.Encode(r))
}
