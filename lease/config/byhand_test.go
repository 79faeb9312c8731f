package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// What somebody writes or deletes by hand is told, and what the last change wrote counts.
func TestWhatIsWrittenByHandDoesNotBecomeTheConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(l *lab.Lab, s *lab.Store)
		key  func(keys kv.Keys) string // that is told; nil: nothing is
		says string
	}{
		"nothing": {func(*lab.Lab, *lab.Store) {}, nil, ""},
		"a pool": {func(l *lab.Lab, s *lab.Store) {
			pool := currentConfig(l, s).Pools["default"]
			pool.Reuse = allocator.Duration(9 * time.Minute)
			l.Put(s.KV.Keys.Pool("default"), kv.Encode(pool))
		}, func(keys kv.Keys) string { return keys.Pool("default") }, "not what the last change wrote"},
		"a pool, as it was": {func(l *lab.Lab, s *lab.Store) {
			l.Put(s.KV.Keys.Pool("default"), kv.Encode(currentConfig(l, s).Pools["default"]))
		}, nil, ""},
		"a pool that no change has made": {func(l *lab.Lab, s *lab.Store) {
			l.Put(s.KV.Keys.Pool("small"), kv.Encode(lab.Small()))
		}, func(keys kv.Keys) string { return keys.Pool("small") }, "no change has made the pool"},
		"a damaged one that no change has made": {func(l *lab.Lab, s *lab.Store) {
			l.Put(s.KV.Keys.Pool("small"), "{")
		}, func(keys kv.Keys) string { return keys.Pool("small") }, "no change has made the pool"},
		"a deleted pool": {func(l *lab.Lab, s *lab.Store) {
			l.Delete(s.KV.Keys.Pool("default"))
		}, func(keys kv.Keys) string { return keys.Pool("default") }, "no change has removed the pool"},
		"settings": {func(l *lab.Lab, s *lab.Store) {
			l.Put(s.KV.Keys.Settings(), kv.Encode(record.DefaultSettings()))
		}, kv.Keys.Settings, "not what the last change wrote"},
		"settings, as they were": {func(l *lab.Lab, s *lab.Store) {
			l.Put(s.KV.Keys.Settings(), kv.Encode(currentConfig(l, s).Settings))
		}, nil, ""},
		"deleted settings": {func(l *lab.Lab, s *lab.Store) {
			l.Delete(s.KV.Keys.Settings())
		}, kv.Keys.Settings, "somebody has configured settings"},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			want := changedThrice(l, s)
			c.do(l, s)
			got := currentConfig(l, s)
			if !reflect.DeepEqual(got.Pools, want.Pools) || !reflect.DeepEqual(got.Settings, want.Settings) || got.Revision != want.Revision {
				t.Errorf("it is revision %d, %+v, %+v", got.Revision, got.Pools, got.Settings)
			}
			switch {
			case c.key == nil && len(got.Bad) > 0:
				t.Errorf("it is told that %v", got.Bad)
			case c.key != nil && (len(got.Bad) != 1 || got.Bad[0].Key != c.key(s.KV.Keys) || !strings.Contains(got.Bad[0].Error(), c.says)):
				t.Errorf("it is told that %v, want %q of %s", got.Bad, c.says, c.key(s.KV.Keys))
			}
			after, err := s.Editor.Apply(t.Context(), got, got.Clone(), config.Note{Who: "tester"}) // the next change repairs it
			l.Check(err)
			if (after.Revision > want.Revision) != (c.key != nil) {
				t.Errorf("the next change is revision %d, after %d", after.Revision, want.Revision)
			}
			if now := currentConfig(l, s); len(now.Bad) > 0 || !reflect.DeepEqual(now.Pools, want.Pools) || !reflect.DeepEqual(now.Settings,
				want.Settings) {
				t.Errorf("after it the configuration is %+v, %+v; it is told that %v", now.Pools, now.Settings, now.Bad)
			}
		})
	}
}

// Where nobody has configured settings, those that somebody writes by hand are not configured either.
func TestSettingsByHandAreNotThoseOfAClusterThatHasNone(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	strict := record.DefaultSettings()
	strict.Fencing = record.FencingStrict
	l.Put(s.KV.Keys.Settings(), kv.Encode(strict))
	got := currentConfig(l, s)
	if !reflect.DeepEqual(got.Settings, record.DefaultSettings()) || len(got.Bad) != 1 || got.Bad[0].Key != s.KV.Keys.Settings() {
		t.Errorf("the settings are %+v; it is told that %v", got.Settings, got.Bad)
	}
}
