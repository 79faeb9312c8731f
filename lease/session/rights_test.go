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
