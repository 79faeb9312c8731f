package lease

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Between etcd's answer to a meeting and its compare others of the process see newer revisions.
func TestAMeetingBesideBusyFollowersFindsThatNothingWentBack(t *testing.T) {
	l := newLab(t)
	raw := l.raw()
	var s *Store
	s = l.store(func(o *Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation != "meet" {
				return
			}
			_, err := raw.Put(t.Context(), "/elsewhere", "")
			l.check(err)
			_, err = s.Config(t.Context())
			l.check(err)
		}
	})
	l.meet(s, "n1", Past{})
	if met := l.meet(s, "n1", Past{}); met.Recovering || met.New || met.Life != 0 {
		t.Errorf("it met %+v: want the etcd that it knows", met)
	}
}

// meetAgain meets the etcd that has been set back under a store that runs.
func (m *machine) meetAgain(s *Store) {
	m.Helper()
	m.until("the store has noticed", func() bool { _, err := s.Config(m.Context()); return errors.Is(err, ErrOtherLife) })
	m.until("it has met etcd", func() bool { _, err := s.Meet(m.Context(), "n1", "machine of n1", Past{}); return err == nil })
}

// goneBack is an etcd whose revisions are far beyond those of what was saved early, and a store that has seen them.
func goneBack(t *testing.T) (*machine, *Store) {
	t.Helper()
	m := newMachine(t)
	s := m.store()
	m.meet(s, "n1", Past{})
	m.save("early")
	m.grow(300)
	return m, s
}

func TestAFollowerThatHasReadTheFormerLifeDoesNotWaitForItsRevisions(t *testing.T) {
	m, s := goneBack(t)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var once sync.Once
	met, heard := make(chan bool), make(chan string, 100)
	done.Go(func() {
		_ = s.FollowNodes(ctx, func(u Update[Node]) {
			once.Do(func() { // it has read all, and does not watch yet
				m.back("early")
				m.meetAgain(s)
				close(met)
			})
			for _, n := range u.Set {
				heard <- n.Name
			}
		})
	})
	m.Cleanup(func() { cancel(); done.Wait() })
	<-met
	m.join(m.store(), "n7")
	select {
	case <-heard:
	case <-time.After(20 * time.Second):
		t.Error("a node that has joined in the new life is not heard of")
	}
}

func TestAQuestionIsHeardInTheNextLifeOfEtcd(t *testing.T) {
	m, s := goneBack(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 100)
	var done sync.WaitGroup
	done.Go(func() { _ = s.FollowQuestions(ctx, func(q Question) { heard <- q.Who }) })
	m.Cleanup(func() { cancel(); done.Wait() })
	ask := func(who string) {
		t.Helper()
		m.join(m.store(), who) // else nobody is waited for
		done.Go(func() { _, _, _ = m.store().Ask(ctx, Question{Who: who}, 20*time.Second) })
		select {
		case got := <-heard:
			if got != who {
				t.Errorf("heard was %q, asked %q", got, who)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q is not heard", who)
		}
	}
	ask("before")
	m.back("early")
	m.meetAgain(s)
	ask("after")
}
