package update

import (
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestARevisionIsAppliedOnlyWhenNoContainerLagsAndEveryBridgeHasIt(t *testing.T) {
	const follows, remade = "follows", "remade"
	at := func(id string) allocator.Attachment {
		return allocator.Attachment{Network: "net", Container: id, Interface: "eth0"}
	}
	lags := func(ids ...string) map[allocator.Attachment]record.Lag {
		all := map[allocator.Attachment]record.Lag{}
		for _, id := range ids {
			all[at(id)] = record.Lag{Attachment: at(id), Reason: "it lags", Remake: id == remade}
		}
		return all
	}
	var l lagging
	set := func(revision int64, bridges bool, ids ...string) func() bool {
		return func() bool { return l.Set(0, revision, bridges, lags(ids...)) }
	}
	drop := func(id string) func() bool { return func() bool { return l.Drop(at(id)) } }
	for i, step := range []struct {
		do            func() bool
		news          bool
		applied, live int64
		outdated      int
	}{
		{set(5, true), true, 5, 5, 0},
		{set(5, true), false, 5, 5, 0},
		{set(6, true, follows), true, 5, 5, 0},
		{set(6, true, remade), true, 5, 6, 1}, // all that a running one can get
		{drop("another"), false, 5, 6, 1},
		{set(7, false), true, 5, 6, 0}, // a bridge has a former gateway
		{set(7, false, follows, remade), true, 5, 6, 1},
		{drop(follows), true, 5, 6, 1},
		{drop(remade), true, 5, 6, 0},
		{set(7, true, follows, remade), true, 5, 6, 1},
		{drop(follows), true, 5, 7, 1},
		{drop(remade), true, 7, 7, 0},
		{set(7, false), true, 7, 7, 0},
		{set(8, true), true, 8, 8, 0},
		{set(9, true), true, 9, 9, 0},
		{set(10, true, follows, "too", remade), true, 9, 9, 1},
		{drop(follows), true, 9, 9, 1},
		{drop("too"), true, 9, 10, 1},
		{set(10, true), true, 10, 10, 0},
		{set(10, true, follows), true, 0, 0, 0}, // it had what revision 10 says, until that came to mean something else here
		{set(10, true), true, 10, 10, 0},
		{set(10, true, follows, remade), true, 0, 0, 1},
		{drop(follows), true, 0, 10, 1},
		{drop(remade), true, 10, 10, 0},
	} {
		news, applied, live, outdated := step.do(), l.Revision(), l.LiveRevision(), l.Outdated()
		if news != step.news || applied != step.applied || live != step.live || outdated != step.outdated {
			t.Errorf("step %d: news %v, applied %d, live %d, outdated %d: want %v, %d, %d, %d", i, news, applied, live, outdated,
				step.news, step.applied, step.live, step.outdated)
		}
	}
}

func TestAContainerWhoseEntryWasRestoredLagsUntilARollOutThatBeganLaterHasLookedAtIt(t *testing.T) {
	at := allocator.Attachment{Network: "net", Container: "a", Interface: "eth0"}
	var l lagging
	shown := func(want int64, lags int) {
		t.Helper()
		var s record.Status
		if l.into(&s); s.Applied != want || s.Live != want || s.LaggingCount != lags {
			t.Errorf("shown are %+v: want revision %d and %d that lag", s, want, lags)
		}
	}
	l.Set(l.Begin(), 5, true, nil)
	shown(5, 0)
	began := l.Begin()
	l.Restored(at)
	shown(0, 1)
	l.Set(began, 6, true, nil) // it has not seen the entry
	shown(0, 1)
	l.Set(l.Begin(), 6, true, nil)
	shown(6, 0)
	l.Restored(at)
	l.Drop(at) // it is gone
	shown(6, 0)
	l.Set(l.Begin(), 7, true, nil)
	shown(7, 0)
}
