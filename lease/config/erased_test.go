package config_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// changedThrice has a pool, then settings, then a change of the pool, with other writes between them.
func changedThrice(l *lab.Lab, s *lab.Store) *config.Config {
	l.Helper()
	l.Apply(s, lab.Smallest())
	l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
	base := currentConfig(l, s)
	next := base.Clone()
	next.Settings.Fencing = record.FencingStrict
	_, err := s.Editor.Apply(l.Context(), base, next, config.Note{Who: "tester"})
	l.Check(err)
	l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{ }")
	pool := currentConfig(l, s).Pools["default"]
	pool.Reuse = allocator.Duration(7 * time.Minute)
	return l.Apply(s, pool)
}

// configKeys are all that the changes of changedThrice have written.
func configKeys(s *lab.Store) []string {
	keys := []string{s.KV.Keys.Revision(), s.KV.Keys.Settings(), s.KV.Keys.Pool("default")}
	for n := range int64(3) {
		keys = append(keys, s.KV.Keys.History(n+1))
	}
	return keys
}

func TestWhateverOfTheConfigurationIsDeletedEtcdStillTellsWhatItWas(t *testing.T) {
	l := lab.New(t)
	for subset := range 1<<6 - 1 { // without any key there is no configuration
		prefix := l.Options.Prefix
		s := l.Store(func(o *kv.Options) { o.Prefix = fmt.Sprintf("%s-%d", prefix, subset) })
		want := changedThrice(l, s)
		keys := configKeys(s)
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		var gone []string
		for i, key := range keys {
			if subset&(1<<i) != 0 {
				l.Delete(key)
				gone = append(gone, key)
				l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
			}
		}
		got := currentConfig(l, s)
		if got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Pools, want.Pools) ||
			!reflect.DeepEqual(got.Settings, want.Settings) || got.Unsettled {
			t.Errorf("without %q it is revision %d of %d changes, %+v, %+v, unsettled: %v; bad are %v",
				gone, got.Revision, got.Changes, got.Pools, got.Settings, got.Unsettled, got.Bad)
		}
		state, err := s.Admin.State(t.Context())
		l.Check(err)
		for _, key := range gone {
			if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Text == key }) {
				t.Errorf("without %q nothing tells that %s is gone: %v", gone, key, state.Bad)
			}
		}
	}
}

// A record that was damaged and then deleted is what it was before the damage.
func TestWhatWasDamagedBeforeItWasDeletedIsWhatItWasBefore(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	want := changedThrice(l, s)
	for _, key := range []string{s.KV.Keys.Revision(), s.KV.Keys.History(2)} {
		l.Put(key, "{")
		l.Delete(key)
	}
	if got := currentConfig(l, s); got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Settings, want.Settings) {
		t.Errorf("it is revision %d of %d changes, %+v; bad are %v", got.Revision, got.Changes, got.Settings, got.Bad)
	}
}

// Etcd has forgotten when the record was written, and has yet what it was when it was deleted.
func TestWhatWasWrittenLongAgoAndDeletedNowIsStillKnown(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	want := changedThrice(l, s)
	forget(l)
	for _, key := range []string{s.KV.Keys.History(1), s.KV.Keys.History(3), s.KV.Keys.Revision()} {
		l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
		l.Delete(key)
	}
	got := currentConfig(l, s)
	if got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Settings, want.Settings) ||
		!reflect.DeepEqual(got.Pools, want.Pools) {
		t.Errorf("it is revision %d of %d changes, %+v, %+v; bad are %v", got.Revision, got.Changes, got.Pools, got.Settings, got.Bad)
	}
}

// A history without its newest entry is no whole one: what it tells of an older change does not count against a record.
func TestAHistoryThatHasLostItsNewestEntryDoesNotTakeChangesBack(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	want := changedThrice(l, s)
	l.Delete(s.KV.Keys.History(3))
	l.Delete(s.KV.Keys.Revision())
	forget(l)
	got := currentConfig(l, s)
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
	l := lab.New(t)
	l.Own()
	s := l.Store()
	changedThrice(l, s)
	for _, key := range []string{s.KV.Keys.History(2), s.KV.Keys.Revision(), s.KV.Keys.Settings()} {
		l.Delete(key)
	}
	forget(l)
	base := currentConfig(l, s)
	if !base.Unsettled {
		t.Fatalf("the settings are %+v; bad are %v", base.Settings, base.Bad)
	}
	next := base.Clone()
	next.Unsettled = false
	_, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester"})
	l.Check(err)
	if got := currentConfig(l, s); got.Unsettled || len(got.Bad) > 0 || !reflect.DeepEqual(got.Settings, record.DefaultSettings()) {
		t.Errorf("unsettled: %v, %+v; bad are %v", got.Unsettled, got.Settings, got.Bad)
	}
	state, err := s.Admin.State(t.Context())
	l.Check(err)
	if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Lost && b.Text == s.KV.Keys.History(2) }) {
		t.Errorf("nothing tells that an entry of the history is lost: %v", state.Bad)
	}
}

// An entry that was put back says which revision its change made.
func TestAnEntryOfTheHistoryThatWasPutBackIsAsCertainAsBefore(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	want := changedThrice(l, s)
	before, err := s.Config.History(t.Context())
	l.Check(err)
	l.Delete(s.KV.Keys.History(3))
	state, err := s.Admin.State(t.Context())
	l.Check(err)
	i := slices.IndexFunc(state.Bad, func(b admin.BadKey) bool { return b.Key.Kind == kv.KindHistory })
	if i < 0 {
		t.Fatalf("bad are %v", state.Bad)
	}
	l.Put(state.Bad[i].Text, state.Bad[i].Was)
	l.Delete(s.KV.Keys.History(1)) // so that the history counts only where it is certain which change was the last
	l.Delete(s.KV.Keys.Pool("default"))
	forget(l)
	if got := currentConfig(l, s); !reflect.DeepEqual(got.Pools, want.Pools) {
		t.Errorf("the pools are %+v; bad are %v", got.Pools, got.Bad)
	}
	if after, err := s.Config.History(t.Context()); err != nil || !reflect.DeepEqual(after, before[1:]) {
		t.Errorf("the history is %+v, %v", after, err)
	}
}

// Whoever repairs a record by hand writes it later than its change did.
func TestAnEntryThatWasDeletedBeforeTheRevisionsRecordWasRepairedIsStillKnown(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	want := changedThrice(l, s)
	was, err := l.Raw().Get(t.Context(), s.KV.Keys.Revision())
	l.Check(err)
	for _, text := range []string{"{", string(was.Kvs[0].Value), ""} {
		l.Delete(s.KV.Keys.History(3))
		if l.Put(s.KV.Keys.Revision(), text); text == "" {
			l.Delete(s.KV.Keys.Revision())
			l.Put(s.KV.Keys.Revision(), string(was.Kvs[0].Value))
			l.Delete(s.KV.Keys.Pool("default"))
		}
		if got := currentConfig(l, s); !reflect.DeepEqual(got.Pools, want.Pools) || !reflect.DeepEqual(got.Settings, want.Settings) {
			t.Errorf("with the record %q the pools are %+v; bad are %v", text, got.Pools, got.Bad)
		}
		state, err := s.Admin.State(t.Context())
		l.Check(err)
		if !slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Text == s.KV.Keys.History(3) && b.Was != "" }) {
			t.Errorf("with the record %q the entry is lost: %v", text, state.Bad)
		}
	}
}

// The history is lost for good, and etcd has what the objects were.
func TestWithoutAHistoryADamagedObjectIsWhatItWasBefore(t *testing.T) {
	for how, damage := range map[string]func(l *lab.Lab, key string){
		"damaged":          func(l *lab.Lab, key string) { l.Put(key, "{") },
		"deleted":          func(l *lab.Lab, key string) { l.Delete(key) },
		"damaged, deleted": func(l *lab.Lab, key string) { l.Put(key, "{"); l.Delete(key) },
	} {
		t.Run(how, func(t *testing.T) {
			l := lab.New(t)
			l.Own()
			s := l.Store()
			want := changedThrice(l, s)
			l.Delete(s.KV.Keys.Under(kv.KindHistory))
			forget(l)
			damage(l, s.KV.Keys.Pool("default"))
			damage(l, s.KV.Keys.Settings())
			got := currentConfig(l, s)
			if got.Unsettled || !reflect.DeepEqual(got.Pools, want.Pools) || !reflect.DeepEqual(got.Settings, want.Settings) {
				t.Errorf("it is %+v, %+v, unsettled: %v; bad are %v", got.Pools, got.Settings, got.Unsettled, got.Bad)
			}
			if len(got.Repairable()) != 2 {
				t.Errorf("the next change would repair %v: want the pool and the settings", got.Repairable())
			}
		})
	}
}

// Without any key of it there is no configuration, but where somebody has an address or a block by it.
func TestAConfigurationOfWhichNoKeyIsLeftIsKnownWhereSomebodyHasSomethingByIt(t *testing.T) {
	block := kv.Key{Kind: kv.KindBlock, Pool: "default", Address: netip.MustParseAddr("10.0.0.64")}
	reservation := kv.Key{Kind: kv.KindReservation, Pool: "default", Address: netip.MustParseAddr("10.0.0.9")}
	for name, c := range map[string]struct {
		left     []kv.Key
		forgets  bool // etcd
		complete bool
	}{
		"a block":                            {[]kv.Key{block}, false, true},
		"a reservation":                      {[]kv.Key{reservation}, false, true},
		"nothing":                            {nil, false, false},
		"a block, and etcd has forgotten":    {[]kv.Key{block}, true, false},
		"nothing, and etcd has forgotten":    {nil, true, false},
		"both, long after the configuration": {[]kv.Key{block, reservation}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			l.Own()
			s := l.Store()
			want := changedThrice(l, s)
			for _, key := range c.left {
				l.Put(s.KV.Keys.Of(key), "whatever it is")
			}
			for _, key := range configKeys(s) {
				l.Delete(key)
			}
			for range len(c.left) * 20 { // so that the configuration was there for a shorter time than it is gone
				l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindStatus, Node: "n1"}), "{}")
			}
			if c.forgets {
				forget(l)
			}
			got := currentConfig(l, s)
			if c.complete && (got.Revision != want.Revision || got.Changes != 3 || !reflect.DeepEqual(got.Pools, want.Pools) ||
				!reflect.DeepEqual(got.Settings, want.Settings) || got.Unsettled) {
				t.Errorf("it is revision %d of %d changes, %+v, %+v, unsettled: %v; bad are %v",
					got.Revision, got.Changes, got.Pools, got.Settings, got.Unsettled, got.Bad)
			}
			if !c.complete && (got.Revision != 0 || len(got.Pools) > 0) {
				t.Errorf("it is revision %d, %+v", got.Revision, got.Pools)
			}
			keeps := got.KeepKnown(want) // what an agent goes on with
			if len(c.left) > 0 && (!reflect.DeepEqual(keeps.Pools, want.Pools) || !reflect.DeepEqual(keeps.Settings, want.Settings)) {
				t.Errorf("an agent goes on with %+v, %+v; bad are %v", keeps.Pools, keeps.Settings, keeps.Bad)
			}
			state, err := s.Admin.State(t.Context())
			l.Check(err)
			for _, key := range []string{s.KV.Keys.Revision(), s.KV.Keys.Pool("default")} {
				told := slices.ContainsFunc(state.Bad, func(b admin.BadKey) bool { return b.Text == key })
				if told != (len(c.left) > 0) {
					t.Errorf("that %s is gone is told: %v; bad are %v", key, told, state.Bad)
				}
			}
		})
	}
}

// Where nothing tells what a pool was, a person writes it as it was: then all goes on.
func TestAConfigurationThatIsLostForGoodGoesOnWithThePoolsThatAPersonWrites(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	want := changedThrice(l, s)
	was := kv.Encode(want.Pools["default"])
	l.Put(s.KV.Keys.Of(kv.Key{Kind: kv.KindBlock, Pool: "default", Address: netip.MustParseAddr("10.42.64.0")}), "whatever it is")
	for _, key := range configKeys(s) {
		l.Delete(key)
	}
	forget(l)
	lost := currentConfig(l, s)
	other := lost.Clone()
	other.PutPool(lab.Small())
	_, err := s.Editor.Apply(t.Context(), lost, other, config.Note{Who: "tester"})
	if kv.Damage(err) == nil || kv.Damage(err).Key != s.KV.Keys.Pool("default") {
		t.Errorf("a change is made while a pool is not known: %v", err)
	}
	l.Put(s.KV.Keys.Pool("default"), was)
	base := currentConfig(l, s)
	next := base.Clone()
	next.Settings, next.Unsettled = want.Settings, false
	after, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester"})
	l.Check(err)
	got := currentConfig(l, s)
	if len(got.Bad) > 0 || got.Unsettled || got.Revision != after.Revision || !reflect.DeepEqual(got.Pools, want.Pools) ||
		!reflect.DeepEqual(got.Settings, want.Settings) {
		t.Errorf("it is revision %d, %+v, %+v; bad are %v", got.Revision, got.Pools, got.Settings, got.Bad)
	}
}
