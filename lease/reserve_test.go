package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestAMemberKeepsItsAddressOnWhateverNode(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	n1, n2 := l.join(l.store(), "n1"), l.join(l.store(), "n2")
	id := identity("db", 0)
	first := l.reserve(n1, asking(config, "default", id, "c1"))[0]
	if p := smallest(); first.Epoch != 1 || !p.InStateful(first.Address) || first.Holder == nil || !first.Holder.Is(attachment("c1"), "n1") {
		t.Fatalf("reserved was %+v", first)
	}
	l.agree(n1.store, first)

	_, err := n2.Reserve(t.Context(), []reservation.Request{asking(config, "default", id, "c2")})
	if held, ok := errors.AsType[*reservation.HeldError](err); !ok || held.Reservation.Holder.Node != "n1" ||
		held.Reservation.Holder.Attachment != attachment("c1") {
		t.Fatalf("while it runs elsewhere: %v", err)
	}
	l.check(n1.store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	moved := l.reserve(n2, asking(config, "default", id, "c2"))[0]
	if moved.Address != first.Address || moved.Epoch != 2 || !moved.Holder.Is(attachment("c2"), "n2") {
		t.Errorf("moved was %+v", moved)
	}
	// What the former node says late is about another epoch.
	l.check(n1.store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	l.agree(n1.store, moved)
}

func TestAReservationOfThisNodeMovesOnlyWhenItsFormerHolderIsNamed(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	next := asking(config, "default", identity("db", 0), "c2")
	if _, err := x.Reserve(t.Context(), []reservation.Request{next}); !isHeld(err) {
		t.Fatalf("while the former runs: %v", err)
	}
	next.Release = &record.Holder{Attachment: attachment("c0"), Node: "n1"}
	if _, err := x.Reserve(t.Context(), []reservation.Request{next}); !isHeld(err) {
		t.Fatalf("with another one named: %v", err)
	}
	next.Release = first.Holder
	if got := l.reserve(x, next)[0]; got.Address != first.Address || got.Epoch != 2 || !got.Holder.Is(attachment("c2"), "n1") {
		t.Errorf("moved was %+v", got)
	}
}

// Whatever is still under way to detach the former attachment of the same name must not hit the new one.
func TestTheSameAttachmentAgainHasAnotherEpoch(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	q := asking(config, "default", identity("db", 0), "c1")
	first, again := l.reserve(x, q)[0], l.reserve(x, q)[0]
	if again.Address != first.Address || again.Epoch <= first.Epoch {
		t.Errorf("first %+v, again %+v", first, again)
	}
	l.check(x.store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	l.agree(x.store, again)
}

func TestAnAbsentNodesReservationIsTakenAtOnceInTheModeOfEvidence(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	gone, here := l.joinBriefly(l.store(), "gone"), l.join(l.store(), "here")
	first := l.reserve(gone, asking(config, "default", identity("db", 0), "c1"))[0]
	q := asking(config, "default", identity("db", 0), "c2")
	if _, err := here.Reserve(t.Context(), []reservation.Request{q}); !isHeld(err) {
		t.Fatalf("while its session lives: %v", err)
	}
	l.absent(here.store, "gone")
	taken := l.reserve(here, q)[0]
	if taken.Address != first.Address || taken.Epoch != 2 || !taken.Holder.Is(attachment("c2"), "here") {
		t.Errorf("taken was %+v", taken)
	}
	l.agree(here.store, taken)
}

func TestANodeOfAnotherModeIsNotTakenFromAtOnce(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	gone, here := l.joinBriefly(l.store(), "gone"), l.join(l.store(), "here")
	l.reserve(gone, asking(config, "default", identity("db", 0), "c1"))
	strict := node("gone")
	strict.Fencing = "strict"
	l.put(s.KV.Keys.Node("gone"), kv.Encode(strict))
	l.absent(s, "gone")
	if _, err := here.Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", 0), "c2")}); !isHeld(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestOneMemberOnTwoNodesAtOnceRunsOnOne(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	nodes := []*joined{l.join(l.store(), "n1"), l.join(l.store(), "n2")}
	for i := range 30 {
		var got [2][]record.Reservation
		var errs [2]error
		var wait sync.WaitGroup
		for n, x := range nodes {
			wait.Go(func() {
				got[n], errs[n] = x.Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", i), fmt.Sprint("c", n))})
			})
		}
		wait.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !isHeld(errs[1-winner]) {
			t.Fatalf("member %d: %v; %v", i, errs[0], errs[1])
		}
		l.agree(l.store(), got[winner]...)
	}
}

func TestAMemberIsInOnePool(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest(), small())
	x := l.join(s, "n1")
	l.reserve(x, asking(config, "default", identity("db", 0), "c0"))
	for _, store := range []*Store{s, l.store()} { // with a hint, and without
		_, err := l.join(store, "n2").Reserve(t.Context(), []reservation.Request{asking(config, "small", identity("db", 0), "c1")})
		if err == nil || !contains(err, `in pool "default"`) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestReservingBeforeAMemberRuns(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	pool, revision, id := config.Pools["default"], config.PoolRevisions["default"], identity("db", 0)
	first, err := s.Reservations.ReserveFor(t.Context(), pool, revision, id, []netip.Addr{addr("10.42.0.17")})
	l.check(err)
	again, err := s.Reservations.ReserveFor(t.Context(), pool, revision, id, nil)
	l.check(err)
	if first[0].Address != addr("10.42.0.17") || first[0].Holder != nil || first[0].Epoch != 0 || again[0] != first[0] {
		t.Errorf("first %+v, again %+v", first, again)
	}
	x := l.join(s, "n1")
	got := l.reserve(x, asking(config, "default", id, "c1"))
	if got[0].Address != first[0].Address || got[0].Epoch != 1 {
		t.Errorf("reserved was %+v", got)
	}
	if kept, err := s.Reservations.ReserveFor(t.Context(), pool, revision, id, nil); err != nil || kept[0].Holder == nil ||
		kept[0].Revision != got[0].Revision {
		t.Errorf("reserving what runs has changed it: %+v, %v", kept, err)
	}

	if _, err := s.Reservations.End(t.Context(), id, false); !isHeld(err) {
		t.Errorf("ending what runs: %v", err)
	}
	ended, err := s.Reservations.End(t.Context(), id, true)
	l.check(err)
	if len(ended) != 1 || ended[0].Address != first[0].Address {
		t.Errorf("ended was %+v", ended)
	}
	if _, err := s.Reservations.End(t.Context(), id, true); !errors.Is(err, reservation.ErrNotReserved) {
		t.Errorf("ending it again: %v", err)
	}
	if left, err := s.Reservations.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
