package e2e

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

func TestTheAddressOfANamespaceGoneWithoutDELComesBack(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node := l.Nodes[0]
	for role, network := range map[string]*lab.Network{"interface": lab.Plain(), "IPAM": ipam()} {
		var all []*lab.Container
		for range 3 {
			c := alone(t, l, network)
			add(t, c)
			all = append(all, c)
		}
		for i, c := range all { // the first goes young, while its announcements are still under way
			if err := c.Remove(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s role, container %d: %v is back after %v", role, i+1, c.Address, backAfter(t, l, c).Round(time.Millisecond))
		}
	}
	holds(t, node, 0)
}

func TestTheAddressOfANamespaceGoneWhileTheAgentWasAwayComesBack(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node := l.Nodes[0]
	for role, network := range map[string]*lab.Network{"interface": lab.Plain(), "IPAM": ipam()} {
		c := alone(t, l, network)
		add(t, c)
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Remove(); err != nil {
			t.Fatal(err)
		}
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s role: %v is back %v after the agent", role, c.Address, backAfter(t, l, c).Round(time.Millisecond))
	}
	holds(t, node, 0)
}
