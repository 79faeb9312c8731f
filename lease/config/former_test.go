package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// withFormer is a configuration whose pool has had the gateway 10.42.0.1, which the one node has taken off.
func withFormer(l *lab.Lab, s *lab.Store) *config.Config {
	l.Helper()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	after, err := s.Editor.Apply(l.Context(), base, movedTo(base, "10.42.16.9"), config.Note{})
	l.Check(err)
	reportStatus(l, x, after.Revision)
	return after
}

// free gives the former gateways free, as an agent does.
func free(l *lab.Lab, s *lab.Store) {
	l.Helper()
	freed, err := s.Former.Free(l.Context(), config.Note{Who: "berthd@n1"})
	l.Check(err)
	if freed == 0 {
		l.Fatal("there is nothing to free")
	}
}

func TestAgentsThatFreeFormerGatewaysAreNoConflictForWhoChangesTheConfiguration(t *testing.T) {
	l := lab.New(t)
	s, agents := l.Store(), l.Store()
	base := withFormer(l, s)
	next := base.Clone()
	next.Settings.Session = allocator.Duration(5 * time.Second)
	free(l, agents)
	after, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "a person"})
	l.Check(err)
	read := currentConfig(l, s)
	if read.Revision != after.Revision || len(config.Diff(read, next)) > 0 || len(read.Former) > 0 || len(after.Former) > 0 {
		t.Errorf("there is %+v, and apply says %+v", read, after)
	}
	if p := after.Pools["default"]; !p.Usable(lab.Addr("10.42.0.1")) {
		t.Error("what was given free is kept again")
	}
	history, err := s.Config.History(t.Context())
	l.Check(err)
	if n := len(history); int64(n) != after.Changes || history[n-2].Who != "berthd@n1" || history[n-1].Who != "a person" {
		t.Errorf("the history is %+v", history)
	}
	if _, err := s.Editor.Apply(t.Context(), base, next, config.Note{}); !isConflict(err) {
		t.Errorf("after a person's change: %v", err)
	}
}

func isConflict(err error) bool {
	_, is := errors.AsType[*config.ConflictError](err)
	return is
}

func TestAPersonsChangeBetweenIsAConflictWhateverAgentsDoBesides(t *testing.T) {
	for name, between := range map[string]func(*lab.Lab, *lab.Store, *config.Config){
		"before": func(l *lab.Lab, s *lab.Store, base *config.Config) {
			_, err := s.Editor.Apply(l.Context(), base, withSession(base, 7*time.Second), config.Note{})
			l.Check(err)
			free(l, s)
		},
		"after": func(l *lab.Lab, s *lab.Store, base *config.Config) {
			free(l, s)
			now := currentConfig(l, s)
			_, err := s.Editor.Apply(l.Context(), now, withSession(now, 7*time.Second), config.Note{})
			l.Check(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			base := withFormer(l, s)
			between(l, l.Store(), base)
			if _, err := s.Editor.Apply(t.Context(), base, withSession(base, 5*time.Second), config.Note{}); !isConflict(err) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func withSession(base *config.Config, session time.Duration) *config.Config {
	next := base.Clone()
	next.Settings.Session = allocator.Duration(session)
	return next
}

// Whoever was given the address meanwhile keeps it: the change is looked at again.
func TestAGatewayThatComesBackWhileItIsGivenFreeIsAConflict(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := withFormer(l, s)
	free(l, l.Store())
	if _, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.0.1"), config.Note{}); !isConflict(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestOfTwoAgentsThatFreeFormerGatewaysOneIsTooLate(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := withFormer(l, s)
	next := base.Clone()
	next.Former = nil
	free(l, l.Store())
	change := config.ChangeOf(base, next, config.Note{}, config.Guard{})
	_, err := s.Editor.Commit(t.Context(), func() (config.Change, error) { return change, nil })
	if !isConflict(err) {
		t.Errorf("the error is %v", err)
	}
	if history, err := s.Config.History(t.Context()); err != nil || len(history) != int(base.Changes)+1 {
		t.Errorf("the history has %d changes: %v", len(history), err)
	}
}

// What a node said before a restore it said of a history that etcd has lost: there it may have had the gateway again.
func TestAfterARestoreAFormerGatewayIsFreeOnlyOnceEveryNodeHasSaidSoAnew(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	after := withFormer(l, s)
	l.Put(s.KV.Keys.Cluster(), kv.Encode(record.Cluster{})) // as the first handshake after a restore leaves it
	if freed, err := s.Former.Free(l.Context(), config.Note{}); err != nil || freed != 0 {
		t.Errorf("freed %d by what was said before: %v", freed, err)
	}
	reportStatus(l, l.Join(s, "n1"), after.Revision)
	free(l, s)
}
