package lease

import (
	"reflect"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
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
	entry := s.KV.Keys.History(1)
	was, err := l.raw().Get(t.Context(), entry)
	l.check(err)
	for _, text := range []string{"{", string(was.Kvs[0].Value)} { // damaged, and then repaired
		l.put(entry, text)
		l.put(s.KV.Keys.Pool("default"), "{")
		if got := l.config(s); !reflect.DeepEqual(got.Pools,
			want.Pools) || got.Unsettled || len(got.Bad) != 1 || got.Bad[0].At.Kind != kv.KindPool {
			t.Errorf("with the history as %.20q the pools are %+v, unsettled: %v; bad are %v", text, got.Pools, got.Unsettled, got.Bad)
		}
	}
}

func TestSettingsThatNobodyHasConfiguredAreNotMissedWhenTheHistoryIsLost(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	l.apply(s, smallest())
	l.put(s.KV.Keys.History(1), "{")
	l.put(s.KV.Keys.Pool("default"), "{")
	l.forget()
	isSettings := func(e *kv.DamagedError) bool { return e.At.Kind == kv.KindSettings }
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
	next.Settings.Fencing = record.FencingStrict
	_, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester", Message: "test"})
	l.check(err)
	l.put(s.KV.Keys.History(1), "{")
	l.put(s.KV.Keys.Revision(), "{")
	l.delete(s.KV.Keys.Settings())
	l.forget()
	if got := l.config(s); !got.Unsettled || !got.Settled {
		t.Errorf("unsettled: %v, settled: %v", got.Unsettled, got.Settled)
	}
}
