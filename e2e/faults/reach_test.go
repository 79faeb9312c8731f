package faults

import (
	"testing"
	"time"
)

func TestANodeIsCutOffFromItsLastQuestionThatWasAnsweredUntilItsNextAnswer(t *testing.T) {
	const ms = time.Millisecond
	r := &reach{last: 1000 * ms}
	for _, c := range []struct {
		sent, at, since time.Duration
		long            bool
	}{
		{1100 * ms, 1101 * ms, 1000 * ms, false},
		{1050 * ms, 1400 * ms, 1100 * ms, false}, // another member was slow
		{1900 * ms, 2050 * ms, 1100 * ms, false},
		{4000 * ms, 4002 * ms, 1900 * ms, true},
		{3900 * ms, 4100 * ms, 4000 * ms, false}, // the same return, seen by another question
	} {
		if since, long := r.answered(c.sent, c.at); since != c.since && long || long != c.long {
			t.Errorf("sent at %v and answered at %v: cut off since %v: %v, want %v: %v", c.sent, c.at, since, long, c.since, c.long)
		}
	}
	if since, long := r.silence(6 * time.Second); since != 4*time.Second || !long {
		t.Errorf("it is silent since %v: %v", since, long)
	}
	if _, long := r.silence(4500 * ms); long {
		t.Error("it is silent after half a second")
	}
}
