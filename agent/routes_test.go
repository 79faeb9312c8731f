package agent

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
)

// ownRoutes are this host's routes between nodes.
func ownRoutes(t *testing.T) (all []string) {
	t.Helper()
	held, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: 98}, netlink.RT_FILTER_PROTOCOL)
	check(t, err)
	for _, r := range held {
		way := fmt.Sprint("via ", r.Gw)
		if r.Type == unix.RTN_UNREACHABLE {
			way = "refused"
		}
		all = append(all, fmt.Sprintf("%v %s", r.Dst, way))
	}
	slices.Sort(all)
	return all
}

// node is the record of another node, with an address by which it is reached.
func nodeRecord(name, hop string) string {
	return fmt.Sprintf(`{"name": %q, "machine": "m-%s", "boot": "b", "journal": "j", "hops": [%q], "fencing": "evidence", "session": "10s",
		"addressLease": "1m", "started": "2026-01-01T00:00:00Z"}`, name, name, hop)
}

// TestTheHostRoutesToWhatOtherNodesHave writes by hand what other nodes would.
func TestTheHostRoutesToWhatOtherNodesHave(t *testing.T) {
	r := newRig(t)
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "nodes0"}}
	check(t, netlink.LinkAdd(link))
	t.Cleanup(func() {
		r.stop()
		_ = netlink.LinkDel(link)
		for _, to := range prefixes("10.50.0.0/16") {
			_ = netlink.RouteDel(&netlink.Route{Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(16, 32)}, Type: unix.RTN_UNREACHABLE})
		}
	})
	a, err := netlink.ParseAddr("192.0.2.1/24")
	check(t, err)
	check(t, netlink.AddrAdd(link, a))
	check(t, netlink.LinkSetUp(link))
	r.put("nodes/n2", nodeRecord("n2", "192.0.2.2"))
	r.put("nodes/n3", nodeRecord("n3", "198.51.100.3"))
	r.put("blocks/wide/10.50.0.0", `{"prefix": "10.50.0.0/26", "parts": [{"prefix": "10.50.0.0/26", "owner": "n2"}]}`)
	r.apply(allocator.Pool{Name: "wide", CIDRs: prefixes("10.50.0.0/16"), Mode: allocator.Routed, Stateful: prefixes("10.50.64.0/18")})
	routed := func(want ...string) func() bool {
		want = append(want, "10.50.0.0/16 refused")
		slices.Sort(want)
		return func() bool { return slices.Equal(ownRoutes(t), want) }
	}
	r.until("the pool is routed", routed("10.50.0.0/26 via 192.0.2.2"))
	r.put("blocks/wide/10.50.0.64", `{"prefix": "10.50.0.64/26", "parts": [{"prefix": "10.50.0.64/26", "owner": "n3"}]}`)
	r.until("n3 is told to be out of reach", func() bool { return r.finding("route-refused", "n3") != "" })
	r.put("nodes/n3", nodeRecord("n3", "192.0.2.3"))
	r.until("n3 is reached", routed("10.50.0.0/26 via 192.0.2.2", "10.50.0.64/26 via 192.0.2.3"))
	r.until("n3 is told no more", func() bool { return !r.found("route-refused") })

	check(t, netlink.RouteDel(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4(10, 50, 0, 0).To4(), Mask: net.CIDRMask(26, 32)}}))
	r.until("a deleted route is back", routed("10.50.0.0/26 via 192.0.2.2", "10.50.0.64/26 via 192.0.2.3"))
	r.put("blocks/wide/10.50.0.0", `{"prefix": "10.50.0.0/26", "parts": "damaged"}`)
	r.until("the record's damage is told", func() bool { return r.found("record-damaged") })
	r.stop() // routes outlive the agent
	check(t, netlink.RouteAdd(&netlink.Route{
		Dst: &net.IPNet{IP: net.IPv4(10, 50, 9, 0).To4(), Mask: net.CIDRMask(26, 32)}, Gw: net.IPv4(192, 0, 2, 9), Protocol: 98, Priority: 128}))
	r.put("blocks/wide/10.50.0.0", `{"prefix": "10.50.0.0/26", "parts": [{"prefix": "10.50.0.0/27", "owner": "n3"}]}`)
	if !routed("10.50.0.0/26 via 192.0.2.2", "10.50.0.64/26 via 192.0.2.3", "10.50.9.0/26 via 192.0.2.9")() {
		t.Errorf("after the agent's end: %q", ownRoutes(t))
	}
	r.start()
	r.until("the next agent has compared them", routed("10.50.0.0/27 via 192.0.2.3", "10.50.0.64/26 via 192.0.2.3"))
	check(t, r.agent.routes.Ensure(t.Context(), "wide"))
	check(t, r.agent.routes.Ensure(t.Context(), "default"))

	r.put("blocks/wide/10.50.0.0", "")
	r.put("blocks/wide/10.50.0.64", "")
	r.until("nobody has anything", routed())
	if lo := loopback(t); !slices.Contains(lo, netip.MustParseAddr("169.254.1.1")) || allocator.RoutedGateways[allocator.V4] != lo[len(lo)-1] {
		t.Errorf("lo has %v: want the containers' gateway", lo)
	}
}

// loopback are the IPv4 addresses of lo.
func loopback(t *testing.T) (all []netip.Addr) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	check(t, err)
	held, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	check(t, err)
	for _, a := range held {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		all = append(all, ip)
	}
	return all
}
