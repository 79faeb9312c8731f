package lease

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Between etcd's answer to a meeting and its compare others of the process see newer revisions.
func TestAMeetingBesideBusyFollowersFindsThatNothingWentBack(t *testing.T) {
	l := newLab(t)
	var s *Store
	s = l.store(func(o *Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation != "meet" {
				return
			}
			l.put("/elsewhere", "")
			_, err := s.Config(t.Context())
			l.check(err)
		}
	})
	l.meet(s, "n1", Past{})
	if met := l.meet(s, "n1", Past{}); met.Recovering || met.New || met.Life != 0 {
		t.Errorf("it met %+v: want the etcd that it knows", met)
	}
}

func TestAFollowerThatHasReadTheFormerLifeDoesNotWaitForItsRevisions(t *testing.T) {
	m, s := goneBack(t)
	var once sync.Once
	read, met, heard := make(chan bool), make(chan bool), make(chan string, 100)
	m.beside(func(ctx context.Context) {
		_ = s.FollowNodes(ctx, func(u Update[Node]) {
			once.Do(func() { // it has read all, and does not watch yet
				close(read)
				select {
				case <-met:
				case <-ctx.Done():
				}
			})
			for _, n := range u.Set {
				heard <- n.Name
			}
		})
	})
	<-read
	m.back("early")
	m.meetAgain(s)
	close(met)
	m.join(m.store(), "n7")
	select {
	case <-heard:
	case <-time.After(20 * time.Second):
		t.Error("a node that has joined in the new life is not heard of")
	}
}

func TestAQuestionIsHeardInTheNextLifeOfEtcd(t *testing.T) {
	m, s := goneBack(t)
	heard := make(chan string, 100)
	m.beside(func(ctx context.Context) { _ = s.FollowQuestions(ctx, func(q Question) { heard <- q.Who }) })
	ask := func(who string) {
		t.Helper()
		m.join(m.store(), who) // else nobody is waited for
		asker := m.store()
		m.beside(func(ctx context.Context) { _, _, _ = asker.Ask(ctx, Question{Who: who}, 20*time.Second) })
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
