package session_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestANodeIsReadAsItIsOrAsItWasBeforeItsRecordWasDamaged(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	node := func() (*record.Node, error) { return s.Sessions.Node(t.Context(), "n1") }
	if n, err := node(); n != nil || err != nil {
		t.Errorf("one that never was is %+v, %v", n, err)
	}
	x := l.Join(s, "n1")
	same := func(what string) {
		t.Helper()
		if n, err := node(); err != nil || n == nil || n.Name != "n1" || n.Machine != x.Node().Machine {
			t.Errorf("%s it is %+v, %v", what, n, err)
		}
	}
	same("undamaged")
	l.Put(s.KV.Keys.Node("n1"), "{")
	same("damaged")
	now := time.Now()
	l.Put(s.KV.Keys.Node("n1"), kv.Encode(record.Node{Name: "n1", Removed: &now}))
	if n, err := node(); n != nil || err != nil {
		t.Errorf("one that was removed is %+v, %v", n, err)
	}
	l.Delete(s.KV.Keys.Node("n1"))
	l.Put(s.KV.Keys.Node("n1"), "{")
	if n, err := node(); n != nil || kv.Damage(err) == nil {
		t.Errorf("one that was never right is %+v, %v", n, err)
	}
}

func TestWithoutAnAnswerOfEtcdNobodyCountsAsAbsent(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "n1")
	l.Join(s, "n2")
	if names, err := s.Sessions.Sessions(t.Context()); err != nil || !slices.Equal(names, []string{"n1", "n2"}) {
		t.Errorf("with a session are %q, %v", names, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if names, err := s.Sessions.Sessions(ended); err == nil {
		t.Errorf("with a session are %q", names)
	}
	if nodes, err := s.Sessions.Nodes(ended); err == nil {
		t.Errorf("the nodes are %+v", nodes)
	}
	if n, err := s.Sessions.Node(ended, "n1"); err == nil {
		t.Errorf("the node is %+v", n)
	}
	if id, err := s.Sessions.ClusterID(ended); err == nil {
		t.Errorf("the cluster is %q", id)
	}
}
