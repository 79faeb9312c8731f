package lease

import (
	"context"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

func TestALeaseThatANewLeaderExtendsIsNoSignOfLife(t *testing.T) {
	l := newLab(t)
	s := l.store()
	former := node("n1")
	former.Session = allocator.Duration(5 * time.Second)
	x, err := s.Join(t.Context(), former)
	l.check(err)
	l.beside(func(ctx context.Context) {
		if pause(ctx, 1500*time.Millisecond) == nil { // while the next boot watches
			_, err := l.raw().KeepAliveOnce(ctx, x.Lease())
			l.check(err)
		}
	})
	next := former
	next.Boot = "another"
	next.Session = allocator.Duration(minSession) // shorter than it watches
	if _, err := s.Join(t.Context(), next); err != nil {
		t.Errorf("the next boot is refused: %v", err)
	}
}

func TestNothingComesBetweenALookAndAJoin(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.join(s, "n1")
	l.meet(s, "n1", Past{})
	for what, key := range map[string]string{
		"the node": s.keys.node("n1"), "its session": s.keys.session("n1"), "the cluster's record": s.keys.cluster(),
	} {
		lease, err := s.grant(t.Context(), time.Minute)
		l.check(err)
		x := s.entrant(node("n1"), lease)
		seen, err := s.lookAtNode(t.Context(), "n1")
		l.check(err)
		now, err := s.get(t.Context(), key)
		l.check(err)
		l.put(key, string(now.Kvs[0].Value))
		if joined, err := x.enter(t.Context(), 1, seen); err != nil || joined {
			t.Errorf("%s has changed, and it joined: %v", what, err)
		}
	}
}
