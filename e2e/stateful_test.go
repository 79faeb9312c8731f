package e2e

import (
	"encoding/json"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// memberOf reads whom a reservation belongs to, as berthctl writes it.
func memberOf(t *testing.T, record string) string {
	t.Helper()
	var reservation struct {
		Identity struct{ Namespace, App, Member string }
	}
	if err := json.Unmarshal([]byte(record), &reservation); err != nil {
		t.Fatalf("reservation %s: %v", record, err)
	}
	i := reservation.Identity
	return i.Namespace + "/" + i.App + "/" + i.Member
}

func TestAMemberKeepsItsAddressWhateverHappens(t *testing.T) {
	l := newLab(t, 3, onePool)
	c := member(t, l.Nodes[0], l, "db-0")
	had := add(t, c)
	watcher := container(t, l.Nodes[2], l)
	add(t, watcher)

	steps := []struct {
		what   string
		before func() error
		node   int
	}{
		{"created again on the same node", nil, 0},
		{"created again on another node", nil, 1},
		{"its agent restarted", func() error { return restart(t, l.Nodes[1].Stop, l.Nodes[1].Start) }, 1},
		{"its agent killed", func() error { return restart(t, l.Nodes[1].Kill, l.Nodes[1].Start) }, 2},
		{"etcd restarted", func() error { return restart(t, l.Etcd.Halt, l.Etcd.Start) }, 0},
		{"etcd killed", func() error { return restart(t, l.Etcd.Kill, l.Etcd.Start) }, 2},
	}
	for _, step := range steps {
		if step.before != nil {
			if err := step.before(); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			reaches(t, watcher, had)
		}
		del(t, c)
		c = member(t, l.Nodes[step.node], l, "db-0")
		labtest.Eventually(t, step.what, func() error { // the DEL may have to wait for etcd, which is settled after its answer
			_, err := c.Add(t.Context())
			return err
		})
		if c.Address != had {
			t.Errorf("%s: the member has %v: want %v", step.what, c.Address, had)
		}
		reaches(t, watcher, had)
	}
}

func TestAMemberThatRunsElsewhereIsNotMovedAndItsHolderIsNamed(t *testing.T) {
	l := newLab(t, 2, onePool)
	first := member(t, l.Nodes[0], l, "db-0")
	had := add(t, first)
	second := member(t, l.Nodes[1], l, "db-0")
	before := census(t, l)
	_, err := second.Add(t.Context())
	refused(t, err, 11, first.ID, "n1", had.String())
	restores(t, l, before)
	del(t, first)
	if got := add(t, second); got != had {
		t.Errorf("after the first is gone the second has %v: want %v", got, had)
	}
}

func TestAMemberDeletedWhileEtcdIsAwayMovesOnceItIsBack(t *testing.T) {
	l := newLab(t, 2, onePool)
	c := member(t, l.Nodes[0], l, "db-0")
	had := add(t, c)
	if err := l.Etcd.Halt(); err != nil {
		t.Fatal(err)
	}
	del(t, c)
	if err := l.Etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	moved := member(t, l.Nodes[1], l, "db-0")
	labtest.Eventually(t, "the member can be created on another node", func() error {
		_, err := moved.Add(t.Context())
		return err
	})
	if moved.Address != had {
		t.Errorf("the member has %v: want %v", moved.Address, had)
	}
}
