package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// withFormer is a configuration whose pool has had the gateway 10.42.0.1, which the one node has taken off.
func (l *lab) withFormer(s *Store) *Config {
	l.Helper()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	after, err := s.Apply(l.Context(), base, movedTo(base, "10.42.16.9"), Note{})
	l.check(err)
	l.status(x, after.Revision)
	return after
}

// free gives the former gateways free, as an agent does.
func (l *lab) free(s *Store) {
	l.Helper()
	freed, err := s.FreeFormer(l.Context(), Note{Who: "berthd@n1"})
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
	after, err := s.Apply(t.Context(), base, next, Note{Who: "a person"})
	l.check(err)
	read := l.config(s)
	if read.Revision != after.Revision || len(Diff(read, next)) > 0 || len(read.Former) > 0 || len(after.Former) > 0 {
		t.Errorf("there is %+v, and apply says %+v", read, after)
	}
	if p := after.Pools["default"]; !p.Usable(addr("10.42.0.1")) {
		t.Error("what was given free is kept again")
	}
	history, err := s.History(t.Context())
	l.check(err)
	if n := len(history); int64(n) != after.Changes || history[n-2].Who != "berthd@n1" || history[n-1].Who != "a person" {
		t.Errorf("the history is %+v", history)
	}
	if _, err := s.Apply(t.Context(), base, next, Note{}); !isConflict(err) {
		t.Errorf("after a person's change: %v", err)
	}
}

func isConflict(err error) bool {
	_, is := errors.AsType[*ConflictError](err)
	return is
}

func TestAPersonsChangeBetweenIsAConflictWhateverAgentsDoBesides(t *testing.T) {
	for name, between := range map[string]func(*lab, *Store, *Config){
		"before": func(l *lab, s *Store, base *Config) {
			_, err := s.Apply(l.Context(), base, withSession(base, 7*time.Second), Note{})
			l.check(err)
			l.free(s)
		},
		"after": func(l *lab, s *Store, base *Config) {
			l.free(s)
			now := l.config(s)
			_, err := s.Apply(l.Context(), now, withSession(now, 7*time.Second), Note{})
			l.check(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			base := l.withFormer(s)
			between(l, l.store(), base)
			if _, err := s.Apply(t.Context(), base, withSession(base, 5*time.Second), Note{}); !isConflict(err) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func withSession(base *Config, session time.Duration) *Config {
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
	if _, err := s.Apply(t.Context(), base, movedTo(base, "10.42.0.1"), Note{}); !isConflict(err) {
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
	_, err := s.change(t.Context(), func() (change, error) { return change{base: base, next: next}, nil })
	if !isConflict(err) {
		t.Errorf("the error is %v", err)
	}
	if history, err := s.History(t.Context()); err != nil || len(history) != int(base.Changes)+1 {
		t.Errorf("the history has %d changes: %v", len(history), err)
	}
}
