package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

// cleanup runs berthctl node cleanup, and gives what it prints, or its error.
func cleanup(t *testing.T, node *lab.Node, flags ...string) (printed string, err error) {
	t.Helper()
	return node.Berthctl(t.Context(), append([]string{"node", "cleanup"}, flags...)...)
}

func TestANodeIsCleanedUpAndBerthCanComeBackToIt(t *testing.T) {
	l := newLab(t, 2, onePool)
	node, other := l.Nodes[0], container(t, l.Nodes[1], l)
	add(t, other)
	c := container(t, node, l)
	add(t, c)
	reaches(t, c, other.Address)

	_, err := cleanup(t, node)
	if err == nil {
		t.Fatal("it is done beside an agent that runs")
	}
	says(t, err.Error(), "stop berthd")
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err = cleanup(t, node); err == nil {
		t.Fatal("it is done though a container runs")
	}
	says(t, err.Error(), "containers have ports", "1 in all", "--force")
	printed, err := cleanup(t, node, "--dry-run")
	if err != nil {
		t.Fatal(err)
	}
	says(t, printed, "eth0 in berth0", "bridge berth", "would be removed")
	reaches(t, c, other.Address) // nothing was done

	if _, err = cleanup(t, node, "--force"); err != nil {
		t.Fatal(err)
	}
	printed, err = cleanup(t, node)
	if err != nil || !strings.Contains(printed, "nothing of Berth's") {
		t.Errorf("once more it says %q, %v", printed, err)
	}
	if _, err := node.Ping(netip.MustParseAddr("10.200.0.1")); err != nil {
		t.Errorf("the node has lost its network: %v", err)
	}
	links, err := node.Links()
	if err != nil || len(links) > 2 { // its loopback and its NIC
		t.Errorf("there are %v, %v", links, err)
	}

	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := container(t, node, l)
	add(t, again)
	reaches(t, again, other.Address)
}
