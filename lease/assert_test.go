package lease

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestWhatIsMissingOfABlockIsAssertedAndAnothersStays(t *testing.T) {
	l := newLab(t)
	s := l.store()
	block := prefix("10.42.16.0/26")
	one, two := l.join(s, "n1"), l.join(l.store(), "n2")
	mine := []netip.Prefix{prefix("10.42.16.0/27"), prefix("10.42.16.40/32")}
	first, err := one.AssertBlock(t.Context(), "default", block, mine)
	l.check(err)
	again, err := one.AssertBlock(t.Context(), "default", block, mine)
	l.check(err)
	if again.Revision != first.Revision {
		t.Errorf("asserting what is there wrote %+v over %+v", again, first)
	}
	got, err := two.AssertBlock(t.Context(), "default", block,
		[]netip.Prefix{prefix("10.42.16.32/27"), prefix("10.42.16.31/32"), prefix("10.42.16.41/32")})
	l.check(err)
	for a, owner := range map[string]string{
		"10.42.16.0": "n1", "10.42.16.31": "n1", "10.42.16.32": "n2", "10.42.16.40": "n1", "10.42.16.41": "n2", "10.42.16.63": "n2",
	} {
		if is := got.OwnerOf(addr(a)); is != owner {
			t.Errorf("%s is %q's: want %s's", a, is, owner)
		}
	}
}

// assertion is what a node knows of a reservation that it has.
func assertion(c *config.Config, r record.Reservation) reservation.Assertion {
	return reservation.Assertion{
		Pool: c.Pools[r.Pool], Identity: r.Identity, Attachment: r.Holder.Attachment, Addresses: []netip.Addr{r.Address}, Epoch: r.Epoch,
	}
}

func TestAReservationThatEtcdLostIsAssertedAgain(t *testing.T) {
	for what, lose := range map[string]func(l *lab, s *Store, r record.Reservation){
		"all of it":       func(l *lab, s *Store, r record.Reservation) { l.delete(s.KV.Keys.Prefix) },
		"the record":      func(l *lab, s *Store, r record.Reservation) { l.delete(s.KV.Keys.Under(kv.KindReservation)) },
		"the identity":    func(l *lab, s *Store, r record.Reservation) { l.delete(s.KV.Keys.Under(kv.KindIdentity)) },
		"the block":       func(l *lab, s *Store, r record.Reservation) { l.delete(s.KV.Keys.Under(kv.KindBlock)) },
		"that it is held": func(l *lab, s *Store, r record.Reservation) { r.Holder = nil; l.rewrite(s, r) },
		"the latest move": func(l *lab, s *Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n9", r.Epoch-1
			l.rewrite(s, r)
			l.void(s) // etcd has gone back, and all recover
		},
		"a whole life after": func(l *lab, s *Store, r record.Reservation) { r.Holder, r.Epoch = nil, r.Epoch+3; l.rewrite(s, r) },
		"nothing":            func(*lab, *Store, record.Reservation) {},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			had := l.reserve(l.join(s, "n1"), asking(config, "default", identity("db", 0), "c1"))[0]
			lose(l, s, had)
			epoch, ok, err := l.join(s, "n1").AssertReservation(t.Context(), assertion(config, had))
			l.check(err)
			now, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.check(err)
			if !ok || now == nil || !now.Holder.Is(attachment("c1"), "n1") || now.Epoch != epoch || epoch < had.Epoch {
				t.Fatalf("asserted %v with epoch %d: etcd has %+v", ok, epoch, now)
			}
			l.agree(s, *now)
		})
	}
}

func TestAnothersReservationIsNotAssertedOver(t *testing.T) {
	for what, change := range map[string]func(l *lab, s *Store, r record.Reservation){
		"attached elsewhere since": func(l *lab, s *Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n2", r.Epoch+1
			l.rewrite(s, r)
		},
		"attached elsewhere with the first epoch of another life": func(l *lab, s *Store, r record.Reservation) {
			r.Holder.Node, r.Epoch = "n2", r.Epoch-1
			l.rewrite(s, r)
		},
		"attached elsewhere with the same epoch": func(l *lab, s *Store, r record.Reservation) {
			r.Holder = &record.Holder{Attachment: attachment("c2"), Node: "n1"}
			l.rewrite(s, r)
		},
		"another identity's": func(l *lab, s *Store, r record.Reservation) {
			r.Identity, r.Holder = identity("db", 7), nil
			l.rewrite(s, r)
		},
		"a node's block": func(l *lab, s *Store, r record.Reservation) {
			l.delete(s.KV.Keys.Prefix)
			pool := smallest()
			block := pool.WithDefaults()
			at := block.BlockOf(r.Address)
			l.put(s.KV.Keys.Block(r.Pool, at), kv.Encode(record.Block{Prefix: at, Parts: []record.Part{{Prefix: at, Owner: "n2"}}}))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			had := l.reserve(l.join(s, "n1"), asking(config, "default", identity("db", 0), "c1"))[0]
			change(l, s, had)
			before, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.check(err)
			_, ok, err := l.join(s, "n1").AssertReservation(t.Context(), assertion(config, had))
			l.check(err)
			after, err := s.Reservations.Of(t.Context(), "default", had.Address)
			l.check(err)
			if ok || (before == nil) != (after == nil) || before != nil && after.Revision != before.Revision {
				t.Errorf("asserted %v: before %+v, after %+v", ok, before, after)
			}
		})
	}
}

// A node that was away for long remembers epochs that the identity does not have any more: it was given up meanwhile,
// reserved anew, and counts from one again.
func TestAMemberThatWasReservedAnewIsNotTakenBackByItsFormerNode(t *testing.T) {
	for what, asked := range map[string][]netip.Addr{"with the same address": nil, "with another address": {addr("10.42.9.9")}} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			id, former := identity("db", 0), l.join(s, "n1")
			for range 2 {
				l.reserve(former, asking(config, "default", id, "c1"))
			}
			had := l.reserve(former, asking(config, "default", id, "c1"))[0]
			_, err := s.Reservations.End(t.Context(), id, true)
			l.check(err)
			now := l.reserve(l.join(l.store(), "n2"), asking(config, "default", id, "c2", asked...))[0]
			if now.Epoch >= had.Epoch || (now.Address == had.Address) != (asked == nil) {
				t.Fatalf("it had %+v, and has %+v", had, now)
			}

			_, ok, err := l.join(s, "n1").AssertReservation(t.Context(), assertion(config, had))
			l.check(err)
			if all, err := s.Reservations.List(t.Context()); ok || err != nil || len(all) != 1 || all[0].Revision != now.Revision {
				t.Errorf("asserted %v: the reservations are %+v, %v", ok, all, err)
			}
		})
	}
}

// What an assertion has read is compared by what it writes.
func TestNothingComesBetweenALookAndAnAssertion(t *testing.T) {
	l := newLab(t)
	s := l.store()
	pool := l.apply(s, smallest()).Pools["default"]
	a := reservation.Assertion{Pool: pool, Identity: identity("db", 0), Attachment: attachment("c1"),
		Addresses: []netip.Addr{addr("10.42.0.9")}, Epoch: 1}
	x := l.join(s, "n1")
	for what, key := range map[string]string{
		"the identity":    s.KV.Keys.Identity(a.Identity),
		"the reservation": s.KV.Keys.Reservation("default", a.Addresses[0]),
		"the block":       s.KV.Keys.Block("default", pool.BlockOf(a.Addresses[0])),
	} {
		seen, err := reservation.SeenBy(t.Context(), x.Session, a)
		l.check(err)
		l.put(key, "{}")
		assertion, ok := seen.Plan()
		if !ok || assertion == nil {
			t.Fatalf("%s: asserted would be %+v, %v", what, assertion, ok)
		}
		if err := s.KV.Commit(t.Context(), 1, assertion); err != nil || assertion.Done {
			t.Errorf("%s has changed, and the assertion went through: %v", what, err)
		}
		l.delete(key)
	}
}

// void makes the state nobody's for certain: whoever joins from then on recovers.
func (l *lab) void(s *Store) {
	l.Helper()
	l.put(s.KV.Keys.Cluster(), kv.Encode(record.Cluster{}))
}

func (l *lab) rewrite(s *Store, r record.Reservation) {
	l.Helper()
	l.put(s.KV.Keys.Reservation(r.Pool, r.Address), kv.Encode(r))
}
