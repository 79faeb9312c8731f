package agent

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

// interior is what a container's interface has, as the kernel tells it.
type interior struct {
	mac       string
	mtu       int
	addresses []netip.Prefix
	routes    []wire.Route // that lead somewhere else by a gateway
}

func within(t *testing.T, c wire.Container) (in interior) {
	t.Helper()
	check(t, sandbox.Within(c.Netns, func() error {
		l, err := netlink.LinkByName(c.Interface)
		if err != nil {
			return err
		}
		in.mac, in.mtu = l.Attrs().HardwareAddr.String(), l.Attrs().MTU
		held, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		for _, a := range held {
			if !a.IP.IsLinkLocalUnicast() {
				in.addresses = append(in.addresses, prefix(a.IPNet))
			}
		}
		routes, err := dump.Whole(func() ([]netlink.Route, error) { return netlink.RouteList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		for _, r := range routes {
			if via, ok := netip.AddrFromSlice(r.Gw); ok {
				in.routes = append(in.routes, wire.Route{To: prefix(r.Dst), Via: via.Unmap()})
			}
		}
		return nil
	}))
	slices.SortFunc(in.addresses, netip.Prefix.Compare)
	slices.SortFunc(in.routes, func(a, b wire.Route) int { return a.To.Compare(b.To) })
	return in
}

func prefix(n *net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits)
}

func TestAContainerHasWhatItsAddAnswers(t *testing.T) {
	r := newRig(t)
	pool := allocator.Pool{
		Name: "both", CIDRs: prefixes("10.43.0.0/16", "fd43::/48"), MTU: 1400,
		Gateways: []netip.Addr{netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("fd43::1")},
		Stateful: prefixes("10.43.0.0/20", "fd43::/64"),
		Routes: []allocator.Route{{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.43.0.9")},
			{To: netip.MustParsePrefix("2001:db8::/32")}},
	}
	r.apply(pool)
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("both"); return err == nil })
	routes := []wire.Route{
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: pool.Gateways[0]},
		{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.43.0.9")},
		{To: netip.MustParsePrefix("::/0"), Via: pool.Gateways[1]},
		{To: netip.MustParsePrefix("2001:db8::/32"), Via: pool.Gateways[1]},
	}
	for _, c := range []wire.Container{r.stateless("a", "web"), r.stateful("b", "db", "db-0")} {
		c.Pool, c.Bridge = "both", "both0"
		response, err := r.ask(wire.Insert, c)
		check(t, err)
		got, has := response.Results[0], within(t, c)
		var answered []netip.Prefix
		for i, a := range got.Addresses {
			answered = append(answered, a.Address)
			if a.Gateway != pool.Gateways[i] {
				t.Errorf("%s: the gateway of %s is answered as %s", c.ID, a.Address, a.Gateway)
			}
		}
		if len(answered) != 2 || !slices.Equal(has.addresses, answered) || answered[0].Bits() != 16 || answered[1].Bits() != 48 {
			t.Errorf("%s is answered the addresses %v, and has %v", c.ID, answered, has.addresses)
		}
		told := slices.SortedFunc(slices.Values(got.Routes), func(a, b wire.Route) int { return a.To.Compare(b.To) })
		if !slices.Equal(told, routes) || !slices.Equal(has.routes, routes) {
			t.Errorf("%s is answered the routes %v, and has %v: want %v", c.ID, told, has.routes, routes)
		}
		if got.MAC != has.mac || got.MTU != has.mtu || has.mtu != 1400 {
			t.Errorf("%s is answered %s and %d, and its interface has %s and %d", c.ID, got.MAC, got.MTU, has.mac, has.mtu)
		}
		bridge, port := link(t, "both0"), link(t, got.HostName)
		if got.Bridge != "both0" || got.BridgeMAC != bridge.Attrs().HardwareAddr.String() ||
			got.HostMAC != port.Attrs().HardwareAddr.String() || port.Attrs().MasterIndex != bridge.Attrs().Index {
			t.Errorf("%s is answered %+v, and its port is %+v on %+v", c.ID, got, port.Attrs(), bridge.Attrs())
		}
	}
}
