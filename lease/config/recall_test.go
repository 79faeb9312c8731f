package config_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// forget lets etcd forget all former values.
func forget(l *lab.Lab) {
	l.Helper()
	now, err := l.Raw().Get(l.Context(), "nothing")
	l.Check(err)
	if _, err := l.Raw().Compact(l.Context(), now.Header.Revision); err != nil && !lab.Contains(err, "compacted") {
		l.Fatal(err)
	}
}

func TestAHistoryThatSomebodyHasTouchedStillTellsWhatItsChangesWrote(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	want := l.Apply(s, lab.Smallest())
	entry := s.KV.Keys.History(1)
	was, err := l.Raw().Get(t.Context(), entry)
	l.Check(err)
	for _, text := range []string{"{", string(was.Kvs[0].Value)} { // damaged, and then repaired
		l.Put(entry, text)
		l.Put(s.KV.Keys.Pool("default"), "{")
		if got := currentConfig(l, s); !reflect.DeepEqual(got.Pools,
			want.Pools) || got.Unsettled || len(got.Bad) != 1 || got.Bad[0].At.Kind != kv.KindPool {
			t.Errorf("with the history as %.20q the pools are %+v, unsettled: %v; bad are %v", text, got.Pools, got.Unsettled, got.Bad)
		}
	}
}

func TestSettingsThatNobodyHasConfiguredAreNotMissedWhenTheHistoryIsLost(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	l.Apply(s, lab.Smallest())
	l.Put(s.KV.Keys.History(1), "{")
	l.Put(s.KV.Keys.Pool("default"), "{")
	forget(l)
	isSettings := func(e *kv.DamagedError) bool { return e.At.Kind == kv.KindSettings }
	if got := currentConfig(l, s); got.Unsettled || slices.ContainsFunc(got.Bad, isSettings) {
		t.Errorf("unsettled: %v; bad are %v", got.Unsettled, got.Bad)
	}
}

// The record of the revision is the only one that knows, once the history is lost.
func TestSettingsOfWhichNothingTellsAreNotTakenForTheDefaults(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	base := currentConfig(l, s)
	next := base.Clone()
	next.Settings.Fencing = record.FencingStrict
	_, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester", Message: "test"})
	l.Check(err)
	l.Put(s.KV.Keys.History(1), "{")
	l.Put(s.KV.Keys.Revision(), "{")
	l.Delete(s.KV.Keys.Settings())
	forget(l)
	if got := currentConfig(l, s); !got.Unsettled || !got.Settled() {
		t.Errorf("unsettled: %v, settled: %v", got.Unsettled, got.Settled())
	}
}
