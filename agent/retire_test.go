package agent

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/netops"
)

var ofThePool = netip.MustParsePrefix("10.42.0.0/16")

// masquerades reports whether the kernel masquerades the pool.
func (r *rig) masquerades() bool {
	r.t.Helper()
	found, err := r.agent.updater.Host.Kernel.HostFaults(netops.Bridge{Name: "berth0", Masquerade: []netip.Prefix{ofThePool}}, nil)
	check(r.t, err)
	return !slices.ContainsFunc(found, func(f netops.HostFault) bool { return f.Kind == "masquerade-gone" })
}

// routeToThePool reports whether the host has Berth's link route to the pool.
func (r *rig) routeToThePool() bool {
	r.t.Helper()
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: 'b'}, netlink.RT_FILTER_PROTOCOL)
	check(r.t, err)
	return slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst.String() == ofThePool.String() })
}

func hasGateway(t *testing.T) bool {
	t.Helper()
	held, err := netlink.AddrList(link(t, "berth0"), netlink.FAMILY_V4)
	check(t, err)
	return slices.ContainsFunc(held, func(a netlink.Addr) bool { return a.IP.Equal(net.IPv4(10, 42, 0, 1)) })
}

// TestABridgeGetsAnUplinkWithItsNextContainers: what the node did as the pool's router ends, and begins where the router is elsewhere.
func TestABridgeGetsAnUplinkWithItsNextContainers(t *testing.T) {
	r := newRig(t)
	check(t, sandbox.Namespace("/run/netns/beyond"))
	t.Cleanup(func() { _ = sandbox.Remove("/run/netns/beyond") })
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nic7"}, PeerName: "far7"}))
	t.Cleanup(func() { _ = netlink.LinkDel(link(t, "nic7")) })
	routed := r.stateless("a", "")
	routed.IPMasq = true
	r.add(routed)
	if !r.masquerades() || !hasGateway(t) || r.routeToThePool() {
		t.Errorf("without an uplink it masquerades: %v, has the gateway: %v, a link route: %v", r.masquerades(), hasGateway(t),
			r.routeToThePool())
	}
	r.del(routed)
	r.until("the pool does not masquerade any more", func() bool { r.agent.updater.Host.Look(); return !r.masquerades() })
	bridged := r.stateless("b", "")
	bridged.Uplink = "nic7"
	r.add(bridged)
	if !r.routeToThePool() || hasGateway(t) {
		t.Errorf("with an uplink there is a link route: %v, and the gateway: %v", r.routeToThePool(), hasGateway(t))
	}
	r.until("nothing is wrong", func() bool { return !r.agent.updater.Host.Look() && len(r.wrong()) == 0 })
	r.del(bridged)
	r.until("the link route has gone with the last container", func() bool { r.agent.updater.Host.Look(); return !r.routeToThePool() })
}

func TestAfterALostJournalAPoolGoesOnMasquerading(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "")
	c.IPMasq = true
	r.add(c)
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	r.start()
	r.until("the container is known", func() bool { return len(r.agent.Journal.Entries()) == 1 })
	for range 3 {
		r.agent.updater.Host.Look()
	}
	if !r.masquerades() {
		t.Error("a running container's pool masquerades no more")
	}
}
