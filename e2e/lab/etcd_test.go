package lab

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func put(t *testing.T, e *Etcd, value string) {
	t.Helper()
	if _, err := e.Client().Put(t.Context(), "a", value); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, e *Etcd, want string) {
	t.Helper()
	if found, err := e.Get(t.Context(), "a"); err != nil || found["a"] != want {
		t.Errorf("etcd holds %v, error %v: want %q", found, err, want)
	}
}

func identity(t *testing.T, e *Etcd) (id uint64, revision int64) {
	t.Helper()
	id, err := e.ID(t.Context())
	must(t, err)
	revision, err = e.Revision(t.Context())
	must(t, err)
	return id, revision
}

// answers reports whether a member answers within a while with what most have agreed on.
func answers(m *Member) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := m.client.Get(ctx, "a")
	return err == nil
}

func TestEtcdKeepsItsDataOverAKill(t *testing.T) {
	l := newLab(t, 1, 0)
	put(t, l.Etcd, "1")
	for _, end := range []func() error{l.Etcd.Halt, l.Etcd.Kill} {
		must(t, end(), l.Etcd.Start(t.Context()))
		holds(t, l.Etcd, "1")
	}
}

func TestTwoMembersOfThreeAnswerAndOneDoesNot(t *testing.T) {
	e := newLab(t, 3, 0).Etcd
	for _, fault := range []struct{ begin, end func(*Member) error }{
		{(*Member).Kill, func(m *Member) error { return m.Start(t.Context()) }},
		{(*Member).Pause, (*Member).Resume},
	} {
		must(t, fault.begin(e.Members[0]))
		must(t, e.Members[1].await(t.Context()))
		must(t, fault.begin(e.Members[1]))
		if answers(e.Members[2]) {
			t.Error("one member of three answers")
		}
		must(t, e.Members[1].comeBack(fault.end), e.Members[0].comeBack(fault.end))
		must(t, e.Start(t.Context()))
	}
}

// comeBack ends a member's fault. With it alone there may be no majority yet that Start could wait for.
func (m *Member) comeBack(end func(*Member) error) error {
	if !m.Running() {
		return m.Launch()
	}
	return end(m)
}

func TestAPartitionOfMembersLeavesTheMajority(t *testing.T) {
	l := newLab(t, 3, 0)
	leader, err := l.Etcd.Leader(t.Context())
	must(t, err)
	var others []*Member
	for _, m := range l.Etcd.Members {
		if m != leader {
			others = append(others, m)
		}
	}
	must(t, l.Partition(Side{leader.Name}, Side{others[0].Name, others[1].Name}))
	must(t, others[0].await(t.Context()))
	if answers(leader) {
		t.Error("a leader without followers answers")
	}
	must(t, l.Heal(), l.Etcd.Start(t.Context()))
}

func TestTheLeaderMoves(t *testing.T) {
	e := newLab(t, 3, 0).Etcd
	before, err := e.Leader(t.Context())
	must(t, err)
	chosen, err := e.MoveLeader(t.Context())
	must(t, err)
	after, err := e.Leader(t.Context())
	must(t, err)
	if after != chosen || after == before {
		t.Errorf("%s led, and leads no more for %s: the leader is %s", before.Name, chosen.Name, after.Name)
	}
}

func TestCompactionForgetsHistoryAndDefragmentationKeepsWhatIs(t *testing.T) {
	e := newLab(t, 3, 0).Etcd
	put(t, e, "1")
	_, old := identity(t, e)
	put(t, e, "2")
	revision, err := e.Compact(t.Context())
	must(t, err, e.Defragment(t.Context()))
	if revision <= old {
		t.Errorf("compacted to revision %d: want one after %d", revision, old)
	}
	if _, err := e.Client().Get(t.Context(), "a", clientv3.WithRev(old)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a read of revision %d: %v, want %v", old, err, rpctypes.ErrCompacted)
	}
	holds(t, e, "2")
}

func TestARestoreGoesBackAndItsTokenDecidesWhichClusterItIs(t *testing.T) {
	e := newLab(t, 3, 0).Etcd
	put(t, e, "old")
	id, revision := identity(t, e)
	path := filepath.Join(t.TempDir(), "snapshot")
	must(t, e.Snapshot(t.Context(), path))
	for _, token := range []Token{SameToken, NewToken} {
		for range 3 {
			put(t, e, "new")
		}
		must(t, e.Restore(t.Context(), path, token))
		holds(t, e, "old")
		back, at := identity(t, e)
		if at != revision {
			t.Errorf("restored to revision %d: want %d", at, revision)
		}
		if (back == id) != (token == SameToken) {
			t.Errorf("new token %v: the cluster's id was %x and is %x", token, id, back)
		}
	}
}

func TestARecreatedEtcdIsEmptyAndAnother(t *testing.T) {
	e := newLab(t, 3, 0).Etcd
	put(t, e, "old")
	id, _ := identity(t, e)
	must(t, e.Recreate(t.Context()))
	holds(t, e, "")
	if now, revision := identity(t, e); now == id || revision != 1 {
		t.Errorf("the cluster's id was %x and is %x, at revision %d: want another, at 1", id, now, revision)
	}
}
