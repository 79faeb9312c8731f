package findings

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

func TestAFindingIsToldWhenItBeginsChangesAndEnds(t *testing.T) {
	var told []string
	b := New(func(f Finding, stands bool) {
		told = append(told, fmt.Sprint(f.Kind, " ", f.Subject, " ", f.Text, " ", stands))
	}, time.Now)
	b.Set("bridge-gone", "berth0", "somebody deleted it", "nothing: the agent makes it anew")
	b.Set("bridge-gone", "berth0", "somebody deleted it", "nothing: the agent makes it anew")
	b.Set("bridge-gone", "berth0", "it cannot be made: no room", "look at the log")
	b.Clear("bridge-gone", "berth1")
	b.Clear("bridge-gone", "berth0")
	b.Clear("bridge-gone", "berth0")
	want := []string{
		"bridge-gone berth0 somebody deleted it true", "bridge-gone berth0 it cannot be made: no room true",
		"bridge-gone berth0 it cannot be made: no room false",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestAFindingKeepsTheTimeOfItsBeginning(t *testing.T) {
	b := New(func(Finding, bool) {}, time.Now)
	b.Set("bridge-gone", "berth0", "one", "")
	since := b.List()[0].Since
	b.now = func() time.Time { return since.AddDate(1, 0, 0) }
	b.Set("bridge-gone", "berth0", "two", "")
	if f := b.List()[0]; f.Since != since || f.Text != "two" {
		t.Errorf("the finding is %+v, want the text two since %s", f, since)
	}
}

func TestKeepEndsTheOthersOfItsKindAlone(t *testing.T) {
	b := New(func(Finding, bool) {}, time.Now)
	b.Set("bridge-gone", "berth0", "", "")
	b.Set("bridge-gone", "berth1", "", "")
	b.Set("record-damaged", "berth1", "", "")
	b.Keep("bridge-gone", "berth0")
	var left []string
	for _, f := range b.List() {
		left = append(left, f.Kind+" "+f.Subject)
	}
	if want := []string{"bridge-gone berth0", "record-damaged berth1"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestAKindThatHasStoodIsCountedAsNone(t *testing.T) {
	b := New(func(Finding, bool) {}, time.Now)
	b.Set("bridge-gone", "berth0", "", "")
	b.Set("record-damaged", "a", "", "")
	b.Set("record-damaged", "b", "", "")
	b.Clear("bridge-gone", "berth0")
	if got, want := b.Counts(), map[string]int{"bridge-gone": 0, "record-damaged": 2}; !maps.Equal(got, want) {
		t.Errorf("the counts are %v, want %v", got, want)
	}
}

func TestWhoIsToldMayAskTheBoard(t *testing.T) {
	var b *Board
	seen := -1
	b = New(func(Finding, bool) { seen = len(b.List()) }, time.Now)
	b.Set("bridge-gone", "berth0", "", "")
	if seen != 1 {
		t.Errorf("the board showed %d findings to who was told, want 1", seen)
	}
}
