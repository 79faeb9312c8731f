package kv_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Between etcd's answer to a meeting and its compare others of the process see newer revisions.
func TestAHandshakeBesideBusyFollowersFindsThatNothingWentBack(t *testing.T) {
	l := lab.New(t)
	var s *lab.Store
	s = l.Store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation != "meet" {
				return
			}
			l.Put("/elsewhere", "")
			_, err := s.Config.Read(t.Context())
			l.Check(err)
		}
	})
	l.Handshake(s, "n1", session.Past{})
	if met := l.Handshake(s, "n1", session.Past{}); met.Recovering || met.New || met.Incarnation != 0 {
		t.Errorf("it met %+v: want the etcd that it knows", met)
	}
}

func TestWhatAFollowerHasReadInTheFormerIncarnationIsNeitherNotifiedNorWaitedForInTheNext(t *testing.T) {
	m, s := lab.GoneBack(t)
	m.Join(m.Store(), "n8") // which the next incarnation does not know
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
	m.Beside(func(ctx context.Context) {
		_ = kv.Follow(ctx, s.KV, slow, func(u kv.Update[record.Node]) {
			for _, n := range u.Set {
				heard <- n.Name
			}
		})
	})
	<-read
	m.Back("early")
	m.HandshakeAgain(s)
	close(met)
	m.Join(m.Store(), "n7")
	select {
	case name := <-heard:
		if name != "n7" {
			t.Errorf("%s is told, which was of the former incarnation", name)
		}
	case <-time.After(20 * time.Second):
		t.Error("a node that has joined in the new incarnation is not heard of")
	}
}

func TestAnotherIncarnationBeginsOnlyWhenNobodyIsNotifiedOfTheFormer(t *testing.T) {
	m, s := lab.GoneBack(t)
	var telling, begun atomic.Bool
	s.Sessions.OnStoreReset(func(session.ClusterState) {
		if begun.Store(true); telling.Load() {
			t.Error("it is forgotten beside one who still tells of it")
		}
	})
	var once sync.Once
	told := make(chan bool)
	m.Beside(func(ctx context.Context) {
		_ = s.Sessions.FollowNodes(ctx, func(kv.Update[record.Node]) {
			once.Do(func() {
				telling.Store(true)
				defer telling.Store(false)
				close(told)
				for end := time.Now().Add(20 * time.Second); s.KV.Incarnation.Changing().TryRLock() &&
					time.Now().Before(end); time.Sleep(time.Millisecond) {
					s.KV.Incarnation.Changing().RUnlock() // nobody waits yet to begin another
				}
			})
		})
	})
	<-told
	m.Back("early")
	m.HandshakeAgain(s)
	if !begun.Load() {
		t.Error("nobody was told to forget")
	}
}

func TestAnAnswerToARequestOfTheFormerIncarnationSaysNothingOfTheNext(t *testing.T) {
	m := lab.NewMachine(t)
	var slow atomic.Bool
	answered, met, ended := make(chan bool), make(chan bool), make(chan error, 1)
	s := m.Store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "read configuration" && slow.CompareAndSwap(true, false) {
				close(answered)
				<-met
			}
		}
	})
	m.Handshake(s, "n1", session.Past{})
	m.Save("early")
	m.Grow(300)
	_, err := s.Config.Read(t.Context())
	m.Check(err)
	slow.Store(true)
	go func() {
		_, err := s.Config.Read(context.Background())
		ended <- err
	}()
	<-answered
	m.Back("early")
	m.HandshakeAgain(s)
	close(met)
	if err := <-ended; !errors.Is(err, kv.ErrStoreReset) {
		t.Errorf("what the former incarnation has answered is taken for true: %v", err)
	}
	if _, err := s.Config.Read(t.Context()); err != nil {
		t.Errorf("by its revision the next incarnation is over: %v", err)
	}
}
