package faults

import (
	"reflect"
	"testing"
	"time"
)

func TestASeedMakesTheSamePlanEachTime(t *testing.T) {
	kinds, err := Choose("")
	if err != nil {
		t.Fatal(err)
	}
	a, b := NewPlan(5, Small, 5*time.Minute, kinds), NewPlan(5, Small, 5*time.Minute, kinds)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed has made two plans")
	}
	if reflect.DeepEqual(a.Faults, NewPlan(6, Small, 5*time.Minute, kinds).Faults) {
		t.Error("two seeds have made the same faults")
	}
}

func TestALongPlanHasEveryKindOfDeedAndFaultAndTimesWithoutAny(t *testing.T) {
	kinds, err := Choose("")
	if err != nil {
		t.Fatal(err)
	}
	plan := NewPlan(1, Small, 10*time.Minute, kinds)
	struck, done := map[Kind]int{}, map[Deed]int{}
	for _, f := range plan.Faults {
		struck[f.Kind]++
		if rest := (f.At + f.For) % calmEvery; rest > calmEvery-calm {
			t.Errorf("%+v lasts into a calm", f)
		}
	}
	for _, a := range plan.Actions {
		done[a.Do]++
	}
	for _, k := range Kinds {
		if struck[k.Kind] < 3 {
			t.Errorf("there are %d faults of kind %s in ten minutes", struck[k.Kind], k.Kind)
		}
	}
	for _, w := range deeds {
		if done[w.deed] < 10 {
			t.Errorf("%s is done %d times in ten minutes", w.deed, done[w.deed])
		}
	}
}

func TestKindsThatAreLeftOutDoNotStrike(t *testing.T) {
	kinds, err := Choose("restore, clock")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range NewPlan(1, Small, 10*time.Minute, kinds).Faults {
		if f.Kind == Restore || f.Kind == Clock {
			t.Errorf("%+v is in the plan", f)
		}
	}
	if _, err := Choose("clocks"); err == nil {
		t.Error("a kind that nobody knows is left out without a word")
	}
}

func TestViewsThatDifferAreReportedAndThoseThatMayAreNot(t *testing.T) {
	want := view{"a": "10.0.0.1 on n1", "b": "10.0.0.2 on n2"}
	same := view{"a": "10.0.0.1 on n1", "b": "10.0.0.2 on n2"}
	for name, c := range map[string]struct {
		view  view
		may   map[string]bool
		lines int
	}{
		"the same":              {same, nil, 0},
		"one is missing":        {view{"a": "10.0.0.1 on n1"}, nil, 1},
		"one that may":          {view{"a": "10.0.0.1 on n1"}, map[string]bool{"b": true}, 0},
		"one has another":       {view{"a": "10.0.0.1 on n1", "b": "10.0.0.3 on n2"}, nil, 1},
		"one is left":           {view{"a": "10.0.0.1 on n1", "b": "10.0.0.2 on n2", "c": "10.0.0.3 on n2"}, nil, 1},
		"everything is missing": {view{}, nil, 2},
	} {
		if lines := differences(want, c.may, map[string]view{"etcd": c.view, "the kernels": same}); len(lines) != c.lines {
			t.Errorf("%s: it is told in %q: want %d lines", name, lines, c.lines)
		}
	}
}
