package agent

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestANodesRecordSaysByWhichAddressesOthersReachIt(t *testing.T) {
	r := newRig(t)
	recorded := func(address, hops string) func() bool {
		return func() bool {
			n, err := r.peer.Sessions.Node(t.Context(), "n1")
			check(t, err)
			return n != nil && n.Address == address && fmt.Sprint(n.Hops) == hops
		}
	}
	if !recorded("", "[]")() {
		t.Error("a host without a default route says an address")
	}
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "nodes0"}}
	check(t, netlink.LinkAdd(link))
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	check(t, netlink.LinkSetUp(link))
	for i, at := range []string{"192.0.2.1/24", "198.51.100.1/24"} {
		a, err := netlink.ParseAddr(at)
		check(t, err)
		check(t, netlink.AddrAdd(link, a))
		gateway := []net.IP{net.IPv4(192, 0, 2, 254), net.IPv4(198, 51, 100, 254)}[i]
		check(t, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Index, Gw: gateway, Priority: 9}))
		r.until("the record says "+at, recorded(a.IP.String(), fmt.Sprint([]net.IP{a.IP})))
	}
	r.stop()
	r.options = func(o *Options) {
		o.Address, o.Hops = "192.0.2.1,2001:db8::1", []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	}
	r.start()
	r.until("what was given counts", recorded("192.0.2.1,2001:db8::1", "[192.0.2.1 2001:db8::1]"))
	if text := r.finding("node-address-foreign", "2001:db8::1"); text == "" || r.finding("node-address-foreign", "192.0.2.1") != "" {
		t.Errorf("the findings are %+v: want one about 2001:db8::1", r.agent.Findings.List())
	}
}
