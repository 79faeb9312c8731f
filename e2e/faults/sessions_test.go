package faults

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

func TestANodeThatHasNoSessionWithoutACauseIsReported(t *testing.T) {
	s := time.Second
	h := &check.History{Sessionless: []check.Absence{{Node: "n1", Begin: 5 * s, End: 14 * s}}}
	if lines := stranded(h, 3*s); len(lines) != 1 {
		t.Errorf("it is told in %q", lines)
	}
	h.Absences = []check.Absence{{Node: "n1", Reason: cutOff, Begin: 2 * s, End: 12 * s}}
	if lines := stranded(h, 3*s); len(lines) != 0 {
		t.Errorf("it was cut off, and is told in %q", lines)
	}
}
