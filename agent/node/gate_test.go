package node

import (
	"errors"
	"testing"

	"github.com/berth-ipam/berth/lease/session"
)

func TestOnlyWhatIsOfTheNodesSessionAndIncarnationCommits(t *testing.T) {
	var g Gate
	first, second := new(session.Session), new(session.Session)
	begin := func(s *session.Session) { g.Exclusive(func() { g.BeginLocked(s) }) }
	commits := func(s *session.Session) bool {
		ran := false
		err := g.Commit(s, func() error { ran = true; return nil })
		if ran == (err != nil) || err != nil && !errors.Is(err, ErrSuperseded) {
			t.Fatalf("it ran: %t, and the answer is %v", ran, err)
		}
		return err == nil
	}
	if commits(first) {
		t.Error("a session commits that has not settled")
	}
	begin(first)
	if !commits(first) {
		t.Error("the node's session does not commit")
	}
	begin(second)
	if commits(first) || !commits(second) {
		t.Error("a former session commits, or the present one does not")
	}
	g.Exclusive(g.OutliveLocked)
	if commits(second) {
		t.Error("a session of a former incarnation of the store commits")
	}
	failed := errors.New("no room")
	begin(first)
	if err := g.Commit(first, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("what fails is answered %v", err)
	}
}

func TestWhatSettlesAndWhatCommitsExcludeEachOther(t *testing.T) {
	var g Gate
	session := new(session.Session)
	g.Exclusive(func() {
		g.BeginLocked(session)
		if g.mu.TryRLock() {
			t.Error("something can commit while the node settles")
		}
	})
	commitsBeside := func() {
		if g.mu.TryLock() {
			t.Fatal("the node can settle while something commits")
		}
		if !g.mu.TryRLock() {
			t.Fatal("nothing can commit beside another")
		}
		g.mu.RUnlock()
	}
	g.Shared(commitsBeside)
	if err := g.Commit(session, func() error { commitsBeside(); return nil }); err != nil {
		t.Error(err)
	}
}
