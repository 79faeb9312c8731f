package session_test

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/session"
)

func TestARightCountsFromTheSendingOfTheLastProof(t *testing.T) {
	now := 100 * time.Second
	r := session.NewRights(func() time.Duration { return now })
	left := func(stateful, stateless time.Duration) {
		t.Helper()
		if got := r.Remaining(allocator.Stateful); got != stateful {
			t.Errorf("at %s %s are left over stateful addresses, want %s", now, got, stateful)
		}
		if got := r.Remaining(allocator.Stateless); got != stateless {
			t.Errorf("at %s %s are left over stateless addresses, want %s", now, got, stateless)
		}
	}
	left(0, 0)
	r.Limit(time.Second, time.Second)
	left(0, 0)

	r.Prove(98*time.Second, 15*time.Second, time.Hour)
	left(13*time.Second, time.Hour-2*time.Second)
	now += 13 * time.Second
	left(0, time.Hour-15*time.Second)
	now += time.Second
	left(-time.Second, time.Hour-16*time.Second)

	r.Prove(90*time.Second, time.Hour, time.Hour)
	left(-time.Second, time.Hour-16*time.Second)

	r.Prove(112*time.Second, 15*time.Second, time.Hour)
	left(13*time.Second, time.Hour-2*time.Second)
}

func TestAShorterRightHoldsAtOnceAndALongerOneFromItsProof(t *testing.T) {
	r := session.NewRights(func() time.Duration { return 0 })
	r.Prove(0, 15*time.Second, time.Hour)
	r.Limit(20*time.Second, time.Minute)
	if r.Remaining(allocator.Stateful) != 15*time.Second || r.Remaining(allocator.Stateless) != time.Minute {
		t.Errorf("%s and %s are left", r.Remaining(allocator.Stateful), r.Remaining(allocator.Stateless))
	}
	r.Prove(0, 20*time.Second, time.Minute)
	if r.Remaining(allocator.Stateful) != 20*time.Second {
		t.Errorf("%s are left after the proof", r.Remaining(allocator.Stateful))
	}
}

func TestOnlyARightThatHasNotRunOutIsExtended(t *testing.T) {
	now := time.Duration(0)
	r := session.NewRights(func() time.Duration { return now })
	remaining := func(stateful, stateless time.Duration) {
		t.Helper()
		if got := r.Remaining(allocator.Stateful); got != stateful {
			t.Errorf("the right over stateful addresses lasts %s, want %s", got, stateful)
		}
		if got := r.Remaining(allocator.Stateless); got != stateless {
			t.Errorf("the right over stateless addresses lasts %s, want %s", got, stateless)
		}
	}
	r.Extend(5)
	remaining(0, 0) // never proven
	r.Prove(0, 10, 100)
	now = 9
	r.Extend(8)
	remaining(9, 99)
	r.Extend(7) // an older read
	remaining(9, 99)
	now = 18 // the instant at which the first has run out
	r.Extend(18)
	remaining(0, 100)
	if r.Duration(allocator.Stateful) != 10 || r.Duration(allocator.Stateless) != 100 {
		t.Errorf("they last %s and %s from a proof on", r.Duration(allocator.Stateful), r.Duration(allocator.Stateless))
	}
}

func TestALimitSaysWhetherAProvenRightIsShorter(t *testing.T) {
	r := session.NewRights(func() time.Duration { return 0 })
	if r.Limit(1, 1) {
		t.Error("a right that was never proven has become shorter")
	}
	for _, c := range []struct {
		session, lease time.Duration
		shorter        bool
	}{{10, 100, false}, {9, 100, true}, {10, 99, true}, {11, 101, false}} {
		r := session.NewRights(func() time.Duration { return 0 })
		if r.Prove(0, 10, 100); r.Limit(c.session, c.lease) != c.shorter {
			t.Errorf("limited to %s and %s they are shorter: %t, want %t", c.session, c.lease, !c.shorter, c.shorter)
		}
		if got, want := r.Remaining(allocator.Stateful), min(c.session, 10); got != want {
			t.Errorf("limited to %s it lasts %s, want %s", c.session, got, want)
		}
	}
}
