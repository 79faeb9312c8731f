package netops

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// newRoutedPool is a host with an uplink at a switch, where a router has the gateways of the pools, which the host has no address of.
func newRoutedPool(t *testing.T) (*Kernel, space, Bridge) {
	t.Helper()
	return newRoutedPoolAt(t, newSwitch(t))
}

func newRoutedPoolAt(t *testing.T, plug func(space, string)) (*Kernel, space, Bridge) {
	t.Helper()
	router := newSpace(t)
	plug(router, "eth0")
	router.Give("eth0", "192.0.2.254/24", "10.42.0.1/16", "2001:db8::ff/64", "fd42::1/64")
	router.Do(func() error { return (*sysctl.Memory)(nil).Forward("eth0", prefixes("10.42.0.0/16", "fd42::/64")) })
	k, host := newCabledHost(t, plug, 1)
	b := Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("10.42.0.0/16", "fd42::/64")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	return k, host, b
}

// linkRoutes are the prefixes of the routes over a link that are Berth's.
func linkRoutes(host space, link string) (all []netip.Prefix) {
	host.T.Helper()
	host.Do(func() error {
		s, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		routes, err := rtnl.OurRoutes(s)
		for _, r := range routes {
			if r.Index == named(host.T, link).Attrs().Index {
				all = append(all, r.To)
			}
		}
		return err
	})
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

func TestAHostWithAnUplinkReachesItsContainersWithoutARouter(t *testing.T) {
	k, host, _ := newRoutedPool(t)
	p, inside := newContainer(t, k, 1)
	for i, own := range []string{"192.0.2.1", "2001:db8::1"} {
		if from := sender(t, host, inside, p.Addresses[i].Addr()); from != netip.MustParseAddr(own) {
			t.Errorf("%v is addressed by %v: want the bridge's %s", p.Addresses[i], from, own)
		}
		if !hears(t, inside, host, netip.MustParseAddr(own), patience) {
			t.Errorf("%s hears nothing from the container", own)
		}
		host.Do(func() error {
			routes, err := netlink.RouteGet(p.Addresses[i].Addr().AsSlice())
			if err == nil && (len(routes) != 1 || routes[0].Gw != nil) {
				t.Errorf("the way to %v is %v", p.Addresses[i], routes)
			}
			return err
		})
	}
}

func TestALinkRouteThatDisappearsIsReportedAndPutBack(t *testing.T) {
	k, host, b := newRoutedPool(t)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Fatalf("found %q where nothing is wrong", wrong)
	}
	for _, subnet := range b.Subnets {
		drain(k)
		must(t, func() error { _, err := k.HostFaults(b, nil); return err }())
		host.Do(func() error {
			over := named(t, "berth0").Attrs().Index
			return netlink.RouteDel(&netlink.Route{LinkIndex: over, Dst: addr(subnet.String()).IPNet, Scope: unix.RT_SCOPE_LINK})
		})
		awaitChange(t, k)
		if got := kinds(t, k, b); !slices.Equal(got, []string{"route-gone"}) {
			t.Errorf("found %q", got)
		}
		_, err := k.EnsureBridge(b)
		must(t, err)
		if got := linkRoutes(host, "berth0"); !slices.Equal(got, b.Subnets) {
			t.Errorf("the host has link routes to %v", got)
		}
	}
	host.Do(func() error { return netlink.LinkSetDown(named(t, "berth0")) })
	must(t, k.EnsureTable())
	_, err := k.EnsureBridge(b)
	must(t, err)
	if got, wrong := linkRoutes(host, "berth0"), kinds(t, k, b); !slices.Equal(got, b.Subnets) || len(wrong) > 0 {
		t.Errorf("after the bridge was down: link routes to %v, found %q", got, wrong)
	}
}

func TestWhereTheHostHasAnAddressOfThePoolItNeedsNoLinkRoute(t *testing.T) {
	k, host := newCabledHost(t, newSwitch(t), 1)
	b := Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("192.0.2.0/25", "2001:db8::/64")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	if got, wrong := linkRoutes(host, "berth0"), kinds(t, k, b); len(got)+len(wrong) > 0 {
		t.Errorf("link routes to %v, found %q", got, wrong)
	}
}

func TestAnothersRouteToAPoolStays(t *testing.T) {
	k, host := newCabledHost(t, newSwitch(t), 1)
	by := &netlink.Route{Dst: addr("10.42.0.0/16").IPNet, Gw: net.ParseIP("192.0.2.253")}
	host.Do(func() error { return netlink.RouteAdd(by) })
	b := Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("10.42.0.0/16")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	if got, wrong := linkRoutes(host, "berth0"), kinds(t, k, b); len(got)+len(wrong) > 0 {
		t.Errorf("link routes to %v, found %q", got, wrong)
	}
	must(t, k.Retire(nil))
	if routes := routesTo(t, host, "10.42.0.0/16"); len(routes) != 1 || !routes[0].Gw.Equal(by.Gw) {
		t.Errorf("the routes are %v", routes)
	}
}

func routesTo(t *testing.T, host space, to string) (routes []netlink.Route) {
	t.Helper()
	host.Do(func() (err error) {
		routes, err = netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: addr(to).IPNet}, netlink.RT_FILTER_DST)
		return err
	})
	return routes
}

func TestAHostThatSpeaksNoIPv6GetsNoRouteOfIt(t *testing.T) {
	k, host := newHost(t)
	newSwitch(t)(host, "eth0")
	host.Give("eth0", "192.0.2.1/24")
	host.Do(func() error { return sysctl.Set("1", sysctl.V6, "eth0", "disable_ipv6") })
	b := Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("10.42.0.0/16", "fd42::/64")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	if got, wrong := linkRoutes(host, "berth0"), kinds(t, k, b); !slices.Equal(got, prefixes("10.42.0.0/16")) || len(wrong) > 0 {
		t.Errorf("link routes to %v, found %q", got, wrong)
	}
}

func TestWhatNoContainerNeedsAnyMoreIsTakenOffTheHost(t *testing.T) {
	k, host, b := newRoutedPool(t)
	foreign := &netlink.Route{Dst: addr("10.55.0.0/16").IPNet, Scope: unix.RT_SCOPE_LINK}
	host.Do(func() error {
		foreign.LinkIndex = named(t, "berth0").Attrs().Index
		return netlink.RouteAdd(foreign)
	})
	inner := Bridge{Name: "berth1", Addresses: prefixes("10.43.0.1/16"), Masquerade: prefixes("10.43.0.0/16")}
	_, err := k.EnsureBridge(inner)
	must(t, err)
	must(t, k.Retire([]Bridge{b, inner}))
	if wrong := slices.Concat(kinds(t, k, b), kinds(t, k, inner)); len(wrong) > 0 {
		t.Errorf("what is needed was taken: %q", wrong)
	}
	b.Subnets = b.Subnets[:1]
	must(t, k.Retire([]Bridge{b}))
	if got := linkRoutes(host, "berth0"); !slices.Equal(got, b.Subnets) {
		t.Errorf("link routes to %v", got)
	}
	if got := kinds(t, k, inner); !slices.Equal(got, []string{"masquerade-gone"}) {
		t.Errorf("of the pool that masqueraded: %q", got)
	}
	must(t, k.Retire(nil))
	if got := linkRoutes(host, "berth0"); len(got) > 0 {
		t.Errorf("link routes to %v", got)
	}
	if len(routesTo(t, host, "10.55.0.0/16")) != 1 {
		t.Error("another's route was taken")
	}
	for _, again := range []Bridge{b, inner} { // whoever comes next finds it
		_, err := k.EnsureBridge(again)
		must(t, err)
		if wrong := kinds(t, k, again); len(wrong) > 0 {
			t.Errorf("%s: afterwards %q", again.Name, wrong)
		}
	}
}

func TestABridgeThatGetsAnUplinkGivesUpItsGateway(t *testing.T) {
	plug := newSwitch(t)
	router := newSpace(t)
	plug(router, "eth0")
	router.Give("eth0", "10.42.0.1/16", "fd42::1/64")
	k, host := newCabledHost(t, plug, 1)
	alone := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64"), Masquerade: prefixes("10.42.0.0/16", "fd42::/64")}
	_, err := k.EnsureBridge(alone)
	must(t, err)
	host.Give("berth0", "10.42.0.77/16") // by hand
	with := Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("10.42.0.0/16", "fd42::/64")}
	if got := kinds(t, k, with); !slices.Contains(got, "gateway-left") {
		t.Errorf("found %q", got)
	}
	_, err = k.EnsureBridge(with)
	must(t, err)
	must(t, k.Retire([]Bridge{with}))
	for _, g := range alone.Addresses {
		if slices.Contains(addressesOn(host, "berth0"), g) {
			t.Errorf("the bridge answers for %v, which a router has", g)
		}
	}
	if !slices.Contains(addressesOn(host, "berth0"), netip.MustParsePrefix("10.42.0.77/16")) {
		t.Error("what somebody gave the bridge by hand is gone")
	}
	if got := kinds(t, k, alone); !slices.Contains(got, "masquerade-gone") {
		t.Errorf("the pool masquerades still: %q", got)
	}
	if wrong := kinds(t, k, with); len(wrong) > 0 {
		t.Errorf("afterwards %q", wrong)
	}
}

func TestAnUplinkThatABridgeIsToHaveNoMoreIsReported(t *testing.T) {
	k, host, _ := newRoutedPool(t)
	alone := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")}
	must(t, k.Retire([]Bridge{alone}))
	_, err := k.EnsureBridge(alone)
	must(t, err)
	if got := kinds(t, k, alone); !slices.Equal(got, []string{"uplink-left"}) {
		t.Errorf("found %q", got)
	}
	host.Do(func() error { return netlink.LinkSetNoMaster(named(t, "eth0")) })
	if got := kinds(t, k, alone); len(got) > 0 {
		t.Errorf("afterwards %q", got)
	}
}
