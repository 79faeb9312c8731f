package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

func TestALeaseThatANewLeaderExtendsIsNoSignOfLife(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	former := lab.Node("n1")
	former.Session = allocator.Duration(5 * time.Second)
	x, err := s.Join(t.Context(), former)
	l.Check(err)
	l.Beside(func(ctx context.Context) {
		if task.Pause(ctx, 1500*time.Millisecond) == nil { // while the next boot watches
			_, err := l.Raw().KeepAliveOnce(ctx, x.Lease())
			l.Check(err)
		}
	})
	next := former
	next.Boot = "another"
	next.Session = allocator.Duration(record.MinSession) // shorter than it watches
	if _, err := s.Join(t.Context(), next); err != nil {
		t.Errorf("the next boot is refused: %v", err)
	}
}

func TestNothingComesBetweenALookAndAJoin(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "n1")
	l.Handshake(s, "n1", session.Past{})
	for what, key := range map[string]string{
		"the node": s.KV.Keys.Node("n1"), "its session": s.KV.Keys.Session("n1"), "the cluster's record": s.KV.Keys.Cluster(),
	} {
		lease, err := s.KV.Grant(t.Context(), time.Minute)
		l.Check(err)
		x := s.Sessions.Entrant(lab.Node("n1"), lease)
		seen, err := s.Sessions.Lookup(t.Context(), "n1")
		l.Check(err)
		now, err := s.KV.Get(t.Context(), key)
		l.Check(err)
		l.Put(key, string(now.Kvs[0].Value))
		if joined, err := x.Enter(t.Context(), 1, seen); err != nil || joined {
			t.Errorf("%s has changed, and it joined: %v", what, err)
		}
	}
}

func TestNothingComesBetweenALookAndABurial(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "n1")
	for what, key := range map[string]string{"the node": s.KV.Keys.Node("n1"), "its session": s.KV.Keys.Session("n1")} {
		seen, err := s.Sessions.Lookup(t.Context(), "n1")
		l.Check(err)
		now, err := s.KV.Get(t.Context(), key)
		l.Check(err)
		l.Put(key, string(now.Kvs[0].Value))
		at, err := session.WriteTombstone(t.Context(), s.KV, "n1", seen)
		if _, returned := errors.AsType[*session.NodeReturnedError](err); !returned {
			t.Errorf("%s has changed, and it was buried at %d: %v", what, at, err)
		}
	}
}
