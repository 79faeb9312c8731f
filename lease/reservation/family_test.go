package reservation_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/reservation"
)

// v4Only is both with its first family alone.
func v4Only() allocator.Pool {
	p := both()
	p.CIDRs, p.Stateful = p.CIDRs[:1], p.Stateful[:1]
	return p
}

func TestAKnownMemberGetsAnAddressOfItsPoolsSecondFamilyWithItsNextContainer(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, v4Only())
	x := l.Join(s, "n1")
	id := lab.Identity("db", 0)
	first := l.Reserve(x, lab.Asking(config, "both", id, "c1"))
	config = l.Apply(s, both())
	for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
		x := x
		if store != s {
			x = l.Join(store, "n2")
		}
		got := l.Reserve(x, lab.Asking(config, "both", id, "c1"))
		if got[0].Address != first[0].Address || allocator.FamilyOf(got[1].Address) != allocator.V6 || got[0].Epoch != got[1].Epoch {
			t.Errorf("reserved are %+v", got)
		}
		agree(l, store, got...)
		l.Check(store.Reservations.Detach(t.Context(), detachments(got)))
	}
}

func TestAKnownMemberKeepsItsAddressOfADrainingFamilyAndANewOneGetsNone(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.Join(s, "n1")
	config := l.Apply(s, both())
	id := lab.Identity("db", 0)
	first := l.Reserve(x, lab.Asking(config, "both", id, "c1"))
	pool := both()
	pool.DrainingCIDRs = slices.Clone(pool.CIDRs[1:])
	config = l.Apply(s, pool)
	if again := l.Reserve(x, lab.Asking(config, "both", id, "c1")); again[1].Address != first[1].Address {
		t.Errorf("first %+v, then %+v", first, again)
	}
	got, err := x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "both", lab.Identity("db", 1), "c2")})
	if err != nil || len(got) != 1 || allocator.FamilyOf(got[0].Address) != allocator.FamilyOf(first[0].Address) {
		t.Errorf("a new member is given %+v, %v: want an address of the family that does not drain", got, err)
	}
}

func TestAPoolWhoseCIDRsAllDrainReservesNothingForANewMember(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.Join(s, "n1")
	config := l.Apply(s, both())
	id := lab.Identity("db", 0)
	first := l.Reserve(x, lab.Asking(config, "both", id, "c1"))
	l.Check(s.Reservations.Detach(t.Context(), detachments(first)))
	pool := both()
	pool.DrainingCIDRs = slices.Clone(pool.CIDRs)
	config = l.Apply(s, pool)
	for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
		x := x
		if store != s {
			x = l.Join(store, "n2")
		}
		_, err := x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "both", lab.Identity("db", 1), "c2")})
		if err == nil || !strings.Contains(err.Error(), "is being drained") {
			t.Errorf("a new member is answered %v", err)
		}
		again := l.Reserve(x, lab.Asking(config, "both", id, "c1"))
		if again[0].Address != first[0].Address || again[1].Address != first[1].Address {
			t.Errorf("first %+v, then %+v", first, again)
		}
		l.Check(store.Reservations.Detach(t.Context(), detachments(again)))
	}
}
