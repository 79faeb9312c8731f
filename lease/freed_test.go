package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

// withFormer is a configuration whose pool has had the gateway 10.42.0.1, which the one node has taken off.
func (l *lab) withFormer(s *Store) *config.Config {
	l.Helper()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	after, err := s.Editor.Apply(l.Context(), base, movedTo(base, "10.42.16.9"), config.Note{})
	l.check(err)
	l.status(x, after.Revision)
	return after
}

// free gives the former gateways free, as an agent does.
func (l *lab) free(s *Store) {
	l.Helper()
	freed, err := s.Former.Free(l.Context(), config.Note{Who: "berthd@n1"})
	l.check(err)
	if freed == 0 {
		l.Fatal("there is nothing to free")
	}
}

func TestAgentsThatFreeFormerGatewaysAreNoConflictForWhoChangesTheConfiguration(t *testing.T) {
	l := newLab(t)
	s, agents := l.store(), l.store()
	base := l.withFormer(s)
	next := base.Clone()
	next.Settings.Session = allocator.Duration(5 * time.Second)
	l.free(agents)
	after, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: "a person"})
	l.check(err)
	read := l.config(s)
	if read.Revision != after.Revision || len(config.Diff(read, next)) > 0 || len(read.Former) > 0 || len(after.Former) > 0 {
		t.Errorf("there is %+v, and apply says %+v", read, after)
	}
	if p := after.Pools["default"]; !p.Usable(addr("10.42.0.1")) {
		t.Error("what was given free is kept again")
	}
	history, err := s.Config.History(t.Context())
	l.check(err)
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
	for name, between := range map[string]func(*lab, *Store, *config.Config){
		"before": func(l *lab, s *Store, base *config.Config) {
			_, err := s.Editor.Apply(l.Context(), base, withSession(base, 7*time.Second), config.Note{})
			l.check(err)
			l.free(s)
		},
		"after": func(l *lab, s *Store, base *config.Config) {
			l.free(s)
			now := l.config(s)
			_, err := s.Editor.Apply(l.Context(), now, withSession(now, 7*time.Second), config.Note{})
			l.check(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			base := l.withFormer(s)
			between(l, l.store(), base)
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
	l := newLab(t)
	s := l.store()
	base := l.withFormer(s)
	l.free(l.store())
	if _, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.0.1"), config.Note{}); !isConflict(err) {
		t.Errorf("the error is %v", err)
	}
}

func TestOfTwoAgentsThatFreeFormerGatewaysOneIsTooLate(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.withFormer(s)
	next := base.Clone()
	next.Former = nil
	l.free(l.store())
	_, err := s.Editor.Change(t.Context(), func() (config.Change, error) { return config.Change{Base: base, Next: next}, nil })
	if !isConflict(err) {
		t.Errorf("the error is %v", err)
	}
	if history, err := s.Config.History(t.Context()); err != nil || len(history) != int(base.Changes)+1 {
		t.Errorf("the history has %d changes: %v", len(history), err)
	}
}
