package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// toldAndEnded checks that the agent has told of what was wrong, and that nothing is wrong by now. Its metric keeps the kinds that have
// ever stood.
func toldAndEnded(t *testing.T, node *lab.Node, kind string) {
	t.Helper()
	labtest.Eventually(t, "the agent has told of "+kind+", and it has ended", func() error {
		n, err := node.Metric(t.Context(), "berth_findings", "kind", kind)
		if err == nil && n != 0 {
			err = fmt.Errorf("%v findings stand", n)
		}
		if err != nil {
			return err
		}
		_, body, err := node.HTTP(t.Context(), "/metrics")
		if err == nil && !strings.Contains(body, `berth_findings{kind="`+kind+`"`) {
			err = errors.New("nothing was told")
		}
		return err
	})
}

// spoil does something to a node's host behind the agent's back.
func spoil(t *testing.T, node *lab.Node, f func() error) {
	t.Helper()
	if err := sandbox.Within(node.Netns(), f); err != nil {
		t.Fatal(err)
	}
}

func onLink(name string, f func(netlink.Link) error) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return f(link)
}

func TestWhatDisappearsFromANodesHostIsReportedAndPutBackByItsAgent(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	network := lab.Plain()
	network.Plugins[0]["ipMasq"] = true
	c := container(t, node, l)
	c.Network = network
	result, err := c.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bridge, port := result.Interfaces[0].Name, result.Interfaces[1].Name
	// The nodes' switch: the way there and back takes the bridge, the port, the masquerading and the forwarding.
	outside := netip.MustParseAddr("10.200.0.1")
	reaches(t, c, outside)

	for _, s := range []struct {
		kind string
		do   func() error
	}{
		{"port-off", func() error { return onLink(port, netlink.LinkSetNoMaster) }},
		{"masquerade-gone", func() error {
			kernel := new(nftables.Conn)
			kernel.FlushRuleset()
			return kernel.Flush()
		}},
		{"forwarding-off", func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) }},
		{"bridge-gone", func() error { return onLink(bridge, netlink.LinkDel) }}, // and last, since the ports are off it then
	} {
		spoil(t, node, s.do)
		toldAndEnded(t, node, s.kind)
		labtest.Eventually(t, "the container reaches what lies beyond its host again after "+s.kind, func() error {
			_, err := c.Ping(outside)
			return err
		})
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("after %s: %v", s.kind, err)
		}
	}
	del(t, c)
}
