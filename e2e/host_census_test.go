package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// untouched is a node that no agent has run on yet, beside one that has containers, and all that the node's kernel holds.
func untouched(t *testing.T, w wiring) (l *lab.Lab, node *lab.Node, before lab.Census) {
	t.Helper()
	l = makeLab(t, lab.Options{Nodes: 1, IPv6: true, Gateways: w.gateways, Apart: w.apart}, w.pool)
	node, err := l.PlugNode()
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the kernel has given the NIC its link-local address", func() error {
		before, err = node.Host()
		own := func(line string) bool { return strings.HasPrefix(line, "route fe80::44c:") }
		if err == nil && !slices.ContainsFunc(before, own) {
			err = errors.New("it has none")
		}
		return err
	})
	return l, node, before
}

// used has a node run containers of each class, which reach another node's.
func used(t *testing.T, l *lab.Lab, node *lab.Node, w wiring) {
	t.Helper()
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := w.container(t, l, l.Nodes[0], "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
	add(t, other)
	for _, args := range [][]string{
		{"BERTH_NAMESPACE", "shop", "BERTH_APP", "web"},
		{"BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", "db-0"},
	} {
		c := w.container(t, l, node, args...)
		add(t, c)
		for _, a := range other.All {
			if !w.alone {
				reaches(t, c, a)
			}
		}
	}
}

func (w wiring) container(t *testing.T, l *lab.Lab, node *lab.Node, args ...string) *lab.Container {
	t.Helper()
	c, err := node.Container(l.NextID(), w.network, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove() })
	return c
}

// same waits until a node's kernel holds what it held before.
func same(t *testing.T, node *lab.Node, before lab.Census) {
	t.Helper()
	err := lab.Eventually(context.WithoutCancel(t.Context()), "the node is as it was", func() error {
		after, err := node.Host()
		if difference := before.Difference(after); err == nil && difference != "" {
			err = errors.New("before and after differ:\n" + difference)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestANodeThatIsCleanedUpWithLiveContainersIsAsBeforeTheFirst(t *testing.T) {
	for _, w := range allWirings() {
		t.Run(w.name, func(t *testing.T) {
			l, node, before := untouched(t, w)
			used(t, l, node, w)
			if err := node.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := cleanup(t, node, "--force"); err != nil {
				t.Fatal(err)
			}
			same(t, node, before)
		})
	}
}

// allWirings are also those in which a node's containers reach no other node's.
func allWirings() []wiring {
	return append(slices.Clone(wirings), wiring{"flat without uplink", flatPoolOfBoth, nil, hidden(), true, 0})
}

// hidden is a network without uplink whose nodes hide its containers behind their own addresses.
func hidden() *lab.Network {
	n := lab.Plain()
	n.Plugins[0]["ipMasq"] = true
	return n
}
