package reservation_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

func TestAMemberKeepsItsAddressOnWhateverNode(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	n1, n2 := l.Join(l.Store(), "n1"), l.Join(l.Store(), "n2")
	id := lab.Identity("db", 0)
	first := l.Reserve(n1, lab.Asking(config, "default", id, "c1"))[0]
	if p := lab.Smallest(); first.Epoch < 1 || !p.InStateful(first.Address) || first.Holder == nil ||
		!first.Holder.Is(lab.Attachment("c1"), "n1") {
		t.Fatalf("reserved was %+v", first)
	}
	agree(l, n1.Store, first)

	_, err := n2.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", id, "c2")})
	if held, ok := errors.AsType[*reservation.HeldError](err); !ok || held.Reservation.Holder.Node != "n1" ||
		held.Reservation.Holder.Attachment != lab.Attachment("c1") {
		t.Fatalf("while it runs elsewhere: %v", err)
	}
	l.Check(n1.Store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	moved := l.Reserve(n2, lab.Asking(config, "default", id, "c2"))[0]
	if moved.Address != first.Address || moved.Epoch <= first.Epoch || !moved.Holder.Is(lab.Attachment("c2"), "n2") {
		t.Errorf("moved was %+v", moved)
	}
	// What the former node says late is about another epoch.
	l.Check(n1.Store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	agree(l, n1.Store, moved)
}

func TestAReservationOfThisNodeMovesOnlyWhenItsFormerHolderIsNamed(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	first := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	next := lab.Asking(config, "default", lab.Identity("db", 0), "c2")
	if _, err := x.Reserve(t.Context(), []reservation.Request{next}); !isHeld(err) {
		t.Fatalf("while the former runs: %v", err)
	}
	next.Release = &record.Holder{Attachment: lab.Attachment("c0"), Node: "n1"}
	if _, err := x.Reserve(t.Context(), []reservation.Request{next}); !isHeld(err) {
		t.Fatalf("with another one named: %v", err)
	}
	next.Release = first.Holder
	if got := l.Reserve(x, next)[0]; got.Address != first.Address || got.Epoch <= first.Epoch || !got.Holder.Is(lab.Attachment("c2"), "n1") {
		t.Errorf("moved was %+v", got)
	}
}

// Whatever is still under way to detach the former attachment of the same name must not hit the new one.
func TestTheSameAttachmentAgainHasAnotherEpoch(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	x := l.Join(l.Store(), "n1")
	q := lab.Asking(config, "default", lab.Identity("db", 0), "c1")
	first, again := l.Reserve(x, q)[0], l.Reserve(x, q)[0]
	if again.Address != first.Address || again.Epoch <= first.Epoch {
		t.Errorf("first %+v, again %+v", first, again)
	}
	l.Check(x.Store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	agree(l, x.Store, again)
}

func TestAnAbsentNodesReservationIsTakenAtOnceInTheModeOfEvidence(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	gone, here := l.JoinBriefly(l.Store(), "gone"), l.Join(l.Store(), "here")
	first := l.Reserve(gone, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	q := lab.Asking(config, "default", lab.Identity("db", 0), "c2")
	if _, err := here.Reserve(t.Context(), []reservation.Request{q}); !isHeld(err) {
		t.Fatalf("while its session lives: %v", err)
	}
	l.Absent(here.Store, "gone")
	taken := l.Reserve(here, q)[0]
	if taken.Address != first.Address || taken.Epoch <= first.Epoch || !taken.Holder.Is(lab.Attachment("c2"), "here") {
		t.Errorf("taken was %+v", taken)
	}
	agree(l, here.Store, taken)
}

func TestANodeOfAnotherModeIsNotTakenFromAtOnce(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	gone, here := l.JoinBriefly(l.Store(), "gone"), l.Join(l.Store(), "here")
	l.Reserve(gone, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))
	strict := lab.Node("gone")
	strict.Fencing = "strict"
	l.Put(s.KV.Keys.Node("gone"), kv.Encode(strict))
	l.Absent(s, "gone")
	if _, err := here.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c2")}); !isHeld(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestOneMemberOnTwoNodesAtOnceRunsOnOne(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	nodes := []*lab.Joined{l.Join(l.Store(), "n1"), l.Join(l.Store(), "n2")}
	for i := range 30 {
		var got [2][]record.Reservation
		var errs [2]error
		var wait sync.WaitGroup
		for n, x := range nodes {
			wait.Go(func() {
				ask := lab.Asking(config, "default", lab.Identity("db", i), fmt.Sprint("c", n))
				got[n], errs[n] = x.Reserve(t.Context(), []reservation.Request{ask})
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
		agree(l, l.Store(), got[winner]...)
	}
}

func TestAMemberIsInOnePool(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest(), lab.Small())
	x := l.Join(s, "n1")
	l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c0"))
	for _, store := range []*lab.Store{s, l.Store()} { // with a cached reservation, and without
		_, err := l.Join(store, "n2").Reserve(t.Context(), []reservation.Request{lab.Asking(config, "small", lab.Identity("db", 0), "c1")})
		if err == nil || !lab.Contains(err, `in pool "default"`) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestReservingBeforeAMemberRuns(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	pool, revision, id := config.Pools["default"], config.PoolRevisions["default"], lab.Identity("db", 0)
	first, err := s.Reservations.ReserveFor(t.Context(), pool, revision, id, []netip.Addr{lab.Addr("10.42.0.17")})
	l.Check(err)
	again, err := s.Reservations.ReserveFor(t.Context(), pool, revision, id, nil)
	l.Check(err)
	if first[0].Address != lab.Addr("10.42.0.17") || first[0].Holder != nil || first[0].Epoch != 0 || again[0] != first[0] {
		t.Errorf("first %+v, again %+v", first, again)
	}
	x := l.Join(s, "n1")
	got := l.Reserve(x, lab.Asking(config, "default", id, "c1"))
	if got[0].Address != first[0].Address || got[0].Epoch <= first[0].Epoch {
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
	l.Check(err)
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

func TestAReservationBeforeAMemberRunsIsOfTheClusterThatItWasDecidedIn(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	decided := l.Handshake(s, "n1", session.Past{}).Revision
	l.Void(s)
	ask := lab.Asking(config, "default", lab.Identity("db", 0), "")
	done, err := s.Reservations.ReserveIn(t.Context(), decided, []reservation.Request{ask})
	if !errors.Is(err, session.ErrClusterChanged) {
		t.Errorf("after the cluster's record was voided: %+v, %v", done, err)
	}
}
