package netops

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAHostsAddressIsThatOfItsDefaultRoute(t *testing.T) {
	k, host := newHost(t)
	plug := newSwitch(t)
	for _, name := range []string{"eth0", "eth1"} {
		plug(host, name)
	}
	host.Give("eth0", "198.51.100.1/24", "192.0.2.11/24", "192.0.2.12/24", "2001:db8:1::1/64", "2001:db8::b/64")
	host.Give("eth1", "203.0.113.5/24")
	if found, err := k.NodeAddresses(); err != nil || len(found) > 0 {
		t.Errorf("without a default route: %v, error %v", found, err)
	}
	way := func(via, link string, metric int, source string) {
		r := netlink.Route{Gw: netip.MustParseAddr(via).AsSlice(), Priority: metric}
		if source != "" {
			r.Src = netip.MustParseAddr(source).AsSlice()
		}
		putRoute(host, r, link)
	}
	way("192.0.2.1", "eth0", 100, "")
	way("fe80::1", "eth0", 0, "")
	found, err := k.NodeAddresses()
	must(t, err)
	if len(found) != 2 || found[0].String() != "192.0.2.11" || found[1].Is4() {
		t.Errorf("by default routes: %v", found)
	}
	way("203.0.113.1", "eth1", 50, "")
	found, err = k.NodeAddresses()
	must(t, err)
	if found[0].String() != "203.0.113.5" {
		t.Errorf("by a nearer route: %v", found)
	}
	way("192.0.2.1", "eth0", 10, "192.0.2.12")
	found, err = k.NodeAddresses()
	must(t, err)
	if found[0].String() != "192.0.2.12" {
		t.Errorf("by a route that prefers a source: %v", found)
	}
}
