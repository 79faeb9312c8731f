package lease

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// changedThrice has a pool, then settings, then a change of the pool, with other writes between them.
func (l *lab) changedThrice(s *Store) *config.Config {
	l.Helper()
	l.apply(s, smallest())
	l.put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
	base := l.config(s)
	next := base.Clone()
	next.Settings.Fencing = record.FencingStrict
	_, err := s.Editor.Apply(l.Context(), base, next, config.Note{Who: "tester"})
	l.check(err)
	l.put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{ }")
	pool := l.config(s).Pools["default"]
	pool.Reuse = allocator.Duration(7 * time.Minute)
	return l.apply(s, pool)
}

// configKeys are all that the changes of changedThrice have written.
func (s *Store) configKeys() []string {
	keys := []string{s.KV.Keys.Revision(), s.KV.Keys.Settings(), s.KV.Keys.Pool("default")}
	for n := range int64(3) {
		keys = append(keys, s.KV.Keys.History(n+1))
	}
	return keys
}

func TestWhateverOfTheConfigurationIsDeletedEtcdStillTellsWhatItWas(t *testing.T) {
	l := newLab(t)
	for subset := range 1<<6 - 1 { // without any key there is no configuration
		prefix := l.options.Prefix
		s := l.store(func(o *kv.Options) { o.Prefix = fmt.Sprintf("%s-%d", prefix, subset) })
		want := l.changedThrice(s)
		keys := s.configKeys()
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		var gone []string
		for i, key := range keys {
			if subset&(1<<i) != 0 {
				l.delete(key)
				gone = append(gone, key)
				l.put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
			}
		}
		got := l.config(s)
		if got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Pools, want.Pools) ||
			!reflect.DeepEqual(got.Settings, want.Settings) || got.Unsettled {
			t.Errorf("without %q it is revision %d of %d changes, %+v, %+v, unsettled: %v; bad are %v",
				gone, got.Revision, got.Changes, got.Pools, got.Settings, got.Unsettled, got.Bad)
		}
		state, err := s.Admin.State(t.Context())
		l.check(err)
		for _, key := range gone {
			if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Text == key }) {
				t.Errorf("without %q nothing tells that %s is gone: %v", gone, key, state.Bad)
			}
		}
	}
}

// A record that was damaged and then deleted is what it was before the damage.
func TestWhatWasDamagedBeforeItWasDeletedIsWhatItWasBefore(t *testing.T) {
	l := newLab(t)
	s := l.store()
	want := l.changedThrice(s)
	for _, key := range []string{s.KV.Keys.Revision(), s.KV.Keys.History(2)} {
		l.put(key, "{")
		l.delete(key)
	}
	if got := l.config(s); got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Settings, want.Settings) {
		t.Errorf("it is revision %d of %d changes, %+v; bad are %v", got.Revision, got.Changes, got.Settings, got.Bad)
	}
}

// Etcd has forgotten when the record was written, and has yet what it was when it was deleted.
func TestWhatWasWrittenLongAgoAndDeletedNowIsStillKnown(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	want := l.changedThrice(s)
	l.forget()
	for _, key := range []string{s.KV.Keys.History(1), s.KV.Keys.History(3), s.KV.Keys.Revision()} {
		l.put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
		l.delete(key)
	}
	got := l.config(s)
	if got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Settings, want.Settings) ||
		!reflect.DeepEqual(got.Pools, want.Pools) {
		t.Errorf("it is revision %d of %d changes, %+v, %+v; bad are %v", got.Revision, got.Changes, got.Pools, got.Settings, got.Bad)
	}
}

// A history without its newest entry is no whole one: what it tells of an older change does not count against a record.
func TestAHistoryThatHasLostItsNewestEntryDoesNotTakeChangesBack(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	want := l.changedThrice(s)
	l.delete(s.KV.Keys.History(3))
	l.delete(s.KV.Keys.Revision())
	l.forget()
	got := l.config(s)
	if !reflect.DeepEqual(got.Pools, want.Pools) {
		t.Errorf("the pools are %+v; bad are %v", got.Pools, got.Bad)
	}
	for _, key := range got.Repairable() {
		if key.Kind != kv.KindRevision {
			t.Errorf("the next change would write %v as it was before the lost one", key)
		}
	}
}

// What etcd has compacted a person decides, also where he decides for the defaults.
func TestSettingsThatAreLostForGoodAreThoseThatAPersonApplies(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	l.changedThrice(s)
	for _, key := range []string{s.KV.Keys.History(2), s.KV.Keys.Revision(), s.KV.Keys.Settings()} {
		l.delete(key)
	}
	l.forget()
	base := l.config(s)
	if !base.Unsettled {
		t.Fatalf("the settings are %+v; bad are %v", base.Settings, base.Bad)
	}
	next := base.Clone()
	next.Unsettled = false
	_, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester"})
	l.check(err)
	if got := l.config(s); got.Unsettled || len(got.Bad) > 0 || !reflect.DeepEqual(got.Settings, record.DefaultSettings()) {
		t.Errorf("unsettled: %v, %+v; bad are %v", got.Unsettled, got.Settings, got.Bad)
	}
	state, err := s.Admin.State(t.Context())
	l.check(err)
	if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Lost && b.Text == s.KV.Keys.History(2) }) {
		t.Errorf("nothing tells that an entry of the history is lost: %v", state.Bad)
	}
}

// An entry that was put back says which revision its change made.
func TestAnEntryOfTheHistoryThatWasPutBackIsAsCertainAsBefore(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	want := l.changedThrice(s)
	before, err := s.Config.History(t.Context())
	l.check(err)
	l.delete(s.KV.Keys.History(3))
	state, err := s.Admin.State(t.Context())
	l.check(err)
	i := slices.IndexFunc(state.Bad, func(b admin.BadKey) bool { return b.Key.Kind == kv.KindHistory })
	if i < 0 {
		t.Fatalf("bad are %v", state.Bad)
	}
	l.put(state.Bad[i].Text, state.Bad[i].Was)
	l.delete(s.KV.Keys.History(1)) // so that the history counts only where it is certain which change was the last
	l.delete(s.KV.Keys.Pool("default"))
	l.forget()
	if got := l.config(s); !reflect.DeepEqual(got.Pools, want.Pools) {
		t.Errorf("the pools are %+v; bad are %v", got.Pools, got.Bad)
	}
	if after, err := s.Config.History(t.Context()); err != nil || !reflect.DeepEqual(after, before[1:]) {
		t.Errorf("the history is %+v, %v", after, err)
	}
}

// Whoever repairs a record by hand writes it later than its change did.
func TestAnEntryThatWasDeletedBeforeTheRevisionsRecordWasRepairedIsStillKnown(t *testing.T) {
	l := newLab(t)
	s := l.store()
	want := l.changedThrice(s)
	was, err := l.raw().Get(t.Context(), s.KV.Keys.Revision())
	l.check(err)
	for _, text := range []string{"{", string(was.Kvs[0].Value), ""} {
		l.delete(s.KV.Keys.History(3))
		if l.put(s.KV.Keys.Revision(), text); text == "" {
			l.delete(s.KV.Keys.Revision())
			l.put(s.KV.Keys.Revision(), string(was.Kvs[0].Value))
			l.delete(s.KV.Keys.Pool("default"))
		}
		if got := l.config(s); !reflect.DeepEqual(got.Pools, want.Pools) || !reflect.DeepEqual(got.Settings, want.Settings) {
			t.Errorf("with the record %q the pools are %+v; bad are %v", text, got.Pools, got.Bad)
		}
		state, err := s.Admin.State(t.Context())
		l.check(err)
		if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Text == s.KV.Keys.History(3) && b.Was != "" }) {
			t.Errorf("with the record %q the entry is lost: %v", text, state.Bad)
		}
	}
}

// The history is lost for good, and etcd has what the objects were.
func TestWithoutAHistoryADamagedObjectIsWhatItWasBefore(t *testing.T) {
	for how, damage := range map[string]func(l *lab, key string){
		"damaged":          func(l *lab, key string) { l.put(key, "{") },
		"deleted":          func(l *lab, key string) { l.delete(key) },
		"damaged, deleted": func(l *lab, key string) { l.put(key, "{"); l.delete(key) },
	} {
		t.Run(how, func(t *testing.T) {
			l := newLab(t)
			l.own()
			s := l.store()
			want := l.changedThrice(s)
			l.delete(s.KV.Keys.Under(kv.KindHistory))
			l.forget()
			damage(l, s.KV.Keys.Pool("default"))
			damage(l, s.KV.Keys.Settings())
			got := l.config(s)
			if got.Unsettled || !reflect.DeepEqual(got.Pools, want.Pools) || !reflect.DeepEqual(got.Settings, want.Settings) {
				t.Errorf("it is %+v, %+v, unsettled: %v; bad are %v", got.Pools, got.Settings, got.Unsettled, got.Bad)
			}
			if len(got.Repairable()) != 2 {
				t.Errorf("the next change would mend %v: want the pool and the settings", got.Repairable())
			}
		})
	}
}
