package reservation_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestWhatEtcdDoesNotAnswerOfReservationsIsNeitherAbsentNorDone(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := b.Store()
		lasting := lab.Node("n1")
		lasting.Session, lasting.AddressLease = allocator.Duration(24*time.Hour), allocator.Duration(24*time.Hour)
		x, err := s.Join(b.Context(), lasting)
		b.Check(err)
		id := lab.Identity("db", 0)
		ask := lab.Asking(c, "both", id, "c1")
		fresh := func() *lab.Joined { // that has cached nothing
			return &lab.Joined{Session: x.Session, Store: b.Store()}
		}
		reserve := func() error { return lab.Second(fresh().Reserve(b.Context(), []reservation.Request{ask})) }
		none := func() { b.Delete(s.KV.Keys.Under(kv.KindReservation)); b.Delete(s.KV.Keys.Under(kv.KindIdentity)) }
		var had []record.Reservation
		here := func() { none(); had = b.Reserve(x, ask) }
		let := func() reservation.Detachment {
			return reservation.Detachment{Pool: "both", Addresses: []netip.Addr{had[0].Address, had[1].Address}, Identity: id,
				Attachment: lab.Attachment("c1"), Epoch: had[0].Epoch}
		}
		b.Throughout("a reservation", none, reserve)
		b.Throughout("one of a known member", here, reserve)
		b.Throughout("one before a member runs", none, func() error {
			return lab.Second(s.Reservations.ReserveFor(b.Context(), c.Pools["both"], c.PoolRevisions["both"], id, nil))
		})
		b.Throughout("an assertion", none, func() error {
			_, _, err := reservation.Assert(b.Context(), x.Session, reservation.Assertion{Pool: c.Pools["both"], Identity: id,
				Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{lab.Addr("10.2.0.9"), lab.Addr("fd00::9")}, Epoch: 1})
			return err
		})
		restored := func() { // the record names what the member had before
			here()
			b.Put(s.KV.Keys.Identity(id), kv.Encode(record.IdentityRecord{Pool: "both",
				Addresses: []netip.Addr{lab.Addr("10.2.0.9"), lab.Addr("fd00::9")}}))
		}
		b.Throughout("a renaming", restored, func() error {
			return lab.Second(reservation.Rename(b.Context(), x.Session, reservation.Assertion{Pool: c.Pools["both"], Identity: id,
				Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{had[0].Address, had[1].Address}, Epoch: 1}))
		})
		damage := func() { here(); b.Put(s.KV.Keys.Reservation("both", had[0].Address), "{") }
		b.Throughout("an assertion of what is damaged", damage, func() error {
			_, _, err := reservation.Assert(b.Context(), x.Session, reservation.Assertion{Pool: c.Pools["both"], Identity: id,
				Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{had[0].Address, had[1].Address}, Epoch: had[0].Epoch})
			return err
		})
		b.Throughout("a detachment", here, func() error {
			return b.Store().Reservations.Detach(b.Context(), []reservation.Detachment{let()})
		})
		b.Throughout("an end", here, func() error { return lab.Second(s.Reservations.End(b.Context(), id, true)) })
		b.Throughout("the end of what was not answered", here, func() error { return s.Reservations.EndMade(b.Context(), let()) })
		kept := func() { here(); had = b.Reserve(x, ask) } // which is not made by it
		b.Throughout("the detachment of what was not answered", kept, func() error { return s.Reservations.EndMade(b.Context(), let()) })
		b.Throughout("a list", here, func() error { return lab.Second(s.Reservations.List(b.Context())) })
		b.Throughout("a look", here, func() error { return lab.Second(s.Reservations.Of(b.Context(), "both", had[0].Address)) })
	})
}

func TestADetachmentOfBothFamiliesLeavesNoneBehindWhereOneIsNotKnownHere(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		x := b.Join(s, "n1")
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.Reservations.Follow(ctx, func(kv.Update[record.Reservation]) {})
		}()
		had := b.Reserve(x, lab.Asking(c, "both", lab.Identity("db", 0), "c1"))
		key := s.KV.Keys.Reservation("both", had[1].Address)
		got, err := b.Raw().Get(b.Context(), key)
		b.Check(err)
		b.Delete(key)
		time.Sleep(time.Second)
		stop()
		<-ended
		if known := s.Reservations.Cached(lab.Identity("db", 0)); len(known) != 1 {
			t.Fatalf("it knows of %+v", known)
		}
		b.Put(key, string(got.Kvs[0].Value))
		d := detachment(had[0])
		d.Addresses = append(d.Addresses, had[1].Address)
		b.Check(s.Reservations.Detach(b.Context(), []reservation.Detachment{d}))
		all, err := s.Reservations.List(b.Context())
		b.Check(err)
		if len(all) != 2 || slices.ContainsFunc(all, func(r record.Reservation) bool { return r.Holder != nil }) {
			t.Errorf("there are %+v", all)
		}
	})
}

func TestRefusalsNameWhatAPersonHasToKnow(t *testing.T) {
	r := record.Reservation{Pool: "default", Address: lab.Addr("10.42.0.9"), Identity: lab.Identity("db", 0),
		Holder: &record.Holder{Attachment: lab.Attachment("c1"), Node: "n2", Since: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)}}
	for want, err := range map[string]error{
		"ns/db/db-0 has address 10.42.0.9, which is attached to net/c1/eth0 on node n2 since 2031-02-03T04:05:06Z": &reservation.HeldError{
			Reservation: r},
		"1 detachment failed: first":  &reservation.DetachError{Each: map[int]error{7: errors.New("first")}},
		"2 detachments failed: first": &reservation.DetachError{Each: map[int]error{9: errors.New("second"), 7: errors.New("first")}},
		`10.42.0.9 of pool "default" is reserved for ns/db/db-0: ask for another one`: &reservation.ReservedError{Reservation: r},
		`pool "default" is exhausted: all of its 9 usable stateful v4 addresses`: &reservation.ExhaustedError{Pool: "default", Addresses: 9,
			Family: allocator.V4},
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	lab.InBubble(t, func(b *lab.Bubble) {
		if _, err := b.Store().Reservations.End(b.Context(), allocator.Identity{App: "db"}, true); err == nil || errors.Is(err,
			reservation.ErrNotReserved) {
			t.Errorf("the end of what no identity has: %v", err)
		}
	})
}
