package model

import (
	"maps"
	"slices"
	"testing"
)

// TestFewStatesShowAllChanges compares what a trace is held against with a search that goes deeper.
func TestFewStatesShowAllChanges(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("the race detector leaves no time for more states")
	}
	known, deeper := Changes(), changesOf(16*enough)
	for change, steps := range deeper {
		if !slices.Equal(slices.Sorted(slices.Values(steps)), slices.Sorted(slices.Values(known[change]))) {
			t.Errorf("%+v is made by %q, and %q is known", change, steps, known[change])
		}
	}
	for _, c := range slices.Collect(maps.Keys(known)) {
		t.Logf("%+v: %q", c, known[c])
	}
}

func TestWhatNoStepMakesIsNoChange(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]Change{
		"a take from a node that has a session": {Of: Address, From: Other, To: Self, Alive: true, OtherAlive: true, In: Certain},
		"a take before the right has run out":   {Of: Address, From: Other, To: Self, Alive: true, In: Certain},
		"a take in a recovery":                  {Of: Address, From: Other, To: Self, Alive: true, Waited: true, In: Void},
		"a claim without a session":             {Of: Address, From: Nobodys, To: Self, In: Certain},
		"an epoch that falls":                   {Of: Reservation, From: Self, To: Self, Raised: -1, Alive: true, In: Certain},
		"an attachment by the same epoch":       {Of: Reservation, From: Nobodys, To: Self, Alive: true, In: Certain},
		"a move from a node that has a session": {Of: Reservation, From: Other, To: Self, Raised: 1, Alive: true, OtherAlive: true, In: Certain},
		"a move before the right has run out":   {Of: Reservation, From: Other, To: Self, Raised: 1, Alive: true, In: Certain},
		"a session under its former generation": {Of: Session, From: Absent, To: Present},
		"a cluster accepted before its time":    {Of: Cluster, From: Void, To: Certain},
		"a foreign cluster accepted":            {Of: Cluster, From: Foreign, To: Certain, Waited: true},
	} {
		if steps := Changes()[c]; steps != nil {
			t.Errorf("%s is known as %q", what, steps)
		}
	}
}
