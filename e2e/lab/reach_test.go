package lab

import (
	"context"
	"testing"
	"time"
)

// asks is nil when a node gets an answer within a time in which it would be there.
func asks(n *Node, m *Member) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return n.Asks(ctx, m)
}

func TestANodeIsAnsweredByTheMembersOfEtcdThatItReachesAndThatHaveAMajority(t *testing.T) {
	l := newLab(t, 3, 1)
	n, all := l.Nodes[0], l.Etcd.Members
	want := func(when string, answers ...bool) {
		t.Helper()
		for i, m := range all {
			if answers[i] {
				must(t, Eventually(t.Context(), when+": "+m.Name+" answers", func() error { return asks(n, m) }))
			} else if asks(n, m) == nil {
				t.Errorf("%s: %s answers", when, m.Name)
			}
			if severed := l.Severed(t.Context(), n.Name, m) == nil; severed && answers[i] {
				t.Errorf("%s: %s is severed from %s", when, n.Name, m.Name)
			}
		}
	}
	want("all is well", true, true, true)
	must(t, l.Cut(Side{all[0].Name}, Side{n.Name}), l.Severed(t.Context(), n.Name, all[0]))
	want("one way is cut", false, true, true)
	must(t, l.Heal(), l.Cut(Side{n.Name}, l.Etcd.Side()), l.Severed(t.Context(), n.Name, all[2]))
	want("the other way is cut", false, false, false)
	must(t, l.Heal())
	want("it is healed", true, true, true)
	must(t, l.Partition(Side{all[1].Name}, Side{all[0].Name, all[2].Name}), l.Severed(t.Context(), all[1].Name, all[2]))
	want("a member is cut from the others", true, false, true)
	must(t, l.Heal(), all[2].Kill())
	if l.Severed(t.Context(), n.Name, all[2]) == nil {
		t.Error("a member that does not run refuses connections, and counts as severed")
	}
}
