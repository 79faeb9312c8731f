package lease

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Between etcd's answer to a meeting and its compare others of the process see newer revisions.
func TestAMeetingBesideBusyFollowersFindsThatNothingWentBack(t *testing.T) {
	l := newLab(t)
	var s *Store
	s = l.store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation != "meet" {
				return
			}
			l.put("/elsewhere", "")
			_, err := s.Config.Read(t.Context())
			l.check(err)
		}
	})
	l.meet(s, "n1", session.Past{})
	if met := l.meet(s, "n1", session.Past{}); met.Recovering || met.New || met.Life != 0 {
		t.Errorf("it met %+v: want the etcd that it knows", met)
	}
}

func TestWhatAFollowerHasReadInTheFormerLifeIsNeitherToldNorWaitedForInTheNext(t *testing.T) {
	m, s := goneBack(t)
	m.join(m.store(), "n8") // which the next life does not know
	var once sync.Once
	read, met, heard := make(chan bool), make(chan bool), make(chan string, 100)
	slow := record.NodeCodec
	slow.Fill = func(n *record.Node, key kv.Key, revision int64) {
		once.Do(func() { // etcd has answered, and nobody is told yet
			close(read)
			select {
			case <-met:
			case <-t.Context().Done():
			}
		})
		record.NodeCodec.Fill(n, key, revision)
	}
	m.beside(func(ctx context.Context) {
		_ = kv.Follow(ctx, s.KV, slow, func(u kv.Update[record.Node]) {
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
	case name := <-heard:
		if name != "n7" {
			t.Errorf("%s is told, which was of the former life", name)
		}
	case <-time.After(20 * time.Second):
		t.Error("a node that has joined in the new life is not heard of")
	}
}

func TestAnotherLifeBeginsOnlyWhenNobodyTellsOfTheFormer(t *testing.T) {
	m, s := goneBack(t)
	var telling, begun atomic.Bool
	s.Sessions.OnStoreReset(func(session.ClusterState) {
		if begun.Store(true); telling.Load() {
			t.Error("it is forgotten beside one who still tells of it")
		}
	})
	var once sync.Once
	told := make(chan bool)
	m.beside(func(ctx context.Context) {
		_ = s.Sessions.FollowNodes(ctx, func(kv.Update[record.Node]) {
			once.Do(func() {
				telling.Store(true)
				defer telling.Store(false)
				close(told)
				for end := time.Now().Add(20 * time.Second); s.KV.Incarnation.Changing.TryRLock() &&
					time.Now().Before(end); time.Sleep(time.Millisecond) {
					s.KV.Incarnation.Changing.RUnlock() // nobody waits yet to begin another
				}
			})
		})
	})
	<-told
	m.back("early")
	m.meetAgain(s)
	if !begun.Load() {
		t.Error("nobody was told to forget")
	}
}

func TestAnAnswerToARequestOfTheFormerLifeSaysNothingOfTheNext(t *testing.T) {
	m := newMachine(t)
	var slow atomic.Bool
	answered, met, ended := make(chan bool), make(chan bool), make(chan error, 1)
	s := m.store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "read configuration" && slow.CompareAndSwap(true, false) {
				close(answered)
				<-met
			}
		}
	})
	m.meet(s, "n1", session.Past{})
	m.save("early")
	m.grow(300)
	_, err := s.Config.Read(t.Context())
	m.check(err)
	slow.Store(true)
	go func() {
		_, err := s.Config.Read(context.Background())
		ended <- err
	}()
	<-answered
	m.back("early")
	m.meetAgain(s)
	close(met)
	if err := <-ended; !errors.Is(err, kv.ErrStoreReset) {
		t.Errorf("what the former life has answered is taken for true: %v", err)
	}
	if _, err := s.Config.Read(t.Context()); err != nil {
		t.Errorf("by its revision the next life is over: %v", err)
	}
}

func TestAQuestionIsHeardInTheNextLifeOfEtcd(t *testing.T) {
	m, s := goneBack(t)
	heard := make(chan string, 100)
	m.beside(func(ctx context.Context) {
		_ = admin.FollowRequests(ctx, s.KV, func(q record.ReportRequest) { heard <- q.Who })
	})
	ask := func(who string) {
		t.Helper()
		m.join(m.store(), who) // else nobody is waited for
		asker := m.store()
		m.beside(func(ctx context.Context) {
			_, _, _ = asker.Reports.Request(ctx, record.ReportRequest{Who: who}, 20*time.Second)
		})
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
