package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func TestACensusTellsWhatIsLeftOfAContainerUntilEtcdKnowsThatItIsGone(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	c := container(t, node, l)
	leaves := func(want int) error {
		census, err := l.Census(t.Context())
		if left := census.Left(); len(left) != want {
			err = errors.Join(err, fmt.Errorf("there are %d lines in %q: want %d", len(left), left, want))
		}
		return err
	}
	add(t, c)
	labtest.Eventually(t, "its attachment, link, port and assignment are told", func() error { return leaves(4) })
	if err := l.Partition(lab.Side{node.Name}, l.Etcd.Side()); err != nil {
		t.Fatal(err)
	}
	del(t, c)
	labtest.Eventually(t, "its assignment is told, and that etcd is owed its end", func() error { return leaves(2) })
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "nothing is left", func() error { return leaves(0) })
}
