package lease

import (
	"reflect"
	"slices"
	"testing"
)

// forget lets etcd forget all former values.
func (l *lab) forget() {
	l.Helper()
	now, err := l.raw().Get(l.Context(), "nothing")
	l.check(err)
	if _, err := l.raw().Compact(l.Context(), now.Header.Revision); err != nil && !contains(err, "compacted") {
		l.Fatal(err)
	}
}

func TestAHistoryThatSomebodyHasTouchedStillTellsWhatItsChangesWrote(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	want := l.apply(s, smallest())
	entry := s.keys.history(1)
	was, err := l.raw().Get(t.Context(), entry)
	l.check(err)
	for _, text := range []string{"{", string(was.Kvs[0].Value)} { // damaged, and then repaired
		l.put(entry, text)
		l.put(s.keys.pool("default"), "{")
		if got := l.config(s); !reflect.DeepEqual(got.Pools, want.Pools) || got.Unsettled || len(got.Bad) != 1 || got.Bad[0].At.Kind != KindPool {
			t.Errorf("with the history as %.20q the pools are %+v, unsettled: %v; bad are %v", text, got.Pools, got.Unsettled, got.Bad)
		}
	}
}

func TestSettingsThatNobodyHasConfiguredAreNotMissedWhenTheHistoryIsLost(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	l.apply(s, smallest())
	l.put(s.keys.history(1), "{")
	l.put(s.keys.pool("default"), "{")
	l.forget()
	isSettings := func(e *DamagedError) bool { return e.At.Kind == KindSettings }
	if got := l.config(s); got.Unsettled || slices.ContainsFunc(got.Bad, isSettings) {
		t.Errorf("unsettled: %v; bad are %v", got.Unsettled, got.Bad)
	}
}

// The record of the revision is the only one that knows, once the history is lost.
func TestSettingsOfWhichNothingTellsAreNotTakenForTheDefaults(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	base := l.config(s)
	next := base.Clone()
	next.Settings.Fencing = FencingStrict
	_, err := s.Apply(t.Context(), base, next, Note{Who: "tester", Message: "test"})
	l.check(err)
	l.put(s.keys.history(1), "{")
	l.put(s.keys.revision(), "{")
	l.delete(s.keys.settings())
	l.forget()
	if got := l.config(s); !got.Unsettled || !got.settled {
		t.Errorf("unsettled: %v, settled: %v", got.Unsettled, got.settled)
	}
}
