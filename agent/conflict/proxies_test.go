package conflict

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAHostOfManyAddressesIsNoProxy(t *testing.T) {
	n := node.New(node.Options{})
	n.Findings = findings.New(func(findings.Finding, bool) {}, time.Now)
	told := func() bool {
		return slices.ContainsFunc(n.Findings.List(), func(f record.NodeFinding) bool { return f.Kind == proxyARP })
	}
	p := proxies{Node: n}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		asked, answered int
		proxy           bool
	}{{64, proxyAt, false}, {64, 32, false}, {2, 2, false}, {proxyAt, proxyAt, true}, {64, 33, true}} {
		var ask []netip.Addr
		answers := map[netip.Addr]net.HardwareAddr{}
		for i := range c.asked {
			addr := netip.AddrFrom4([4]byte{10, 7, 0, byte(i)})
			if ask = append(ask, addr); i < c.answered {
				answers[addr] = mac
			}
		}
		p.find(addresses.SpaceKey{Pool: "tiny"}, "brup0", ask, answers)
		if is := p.has(mac); is != c.proxy || is != told() {
			t.Errorf("one that answers for %d of %d is a proxy: %t, told: %t", c.answered, c.asked, is, told())
		}
		p.forgetAll()
	}
}
