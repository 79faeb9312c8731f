package netops

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/nettest"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// A router is a host with one container behind it, as a routed pool has them.
type router struct {
	*Kernel
	host, inside space
	addresses    []netip.Prefix // the container's
}

// hopOf is the nth host's address on the network between the hosts, by family.
func hopOf(n int) [2]netip.Addr {
	return [2]netip.Addr{netip.MustParseAddr(fmt.Sprint("192.0.2.", n)), netip.MustParseAddr(fmt.Sprint("2001:db8::", n))}
}

// newRouters makes hosts on one network; each has a container, whose port it makes by hand.
func newRouters(t *testing.T, count int) (all []router) {
	t.Helper()
	plug := newSwitch(t)
	for n := 1; n <= count; n++ {
		k, host := newHost(t)
		r := router{k, host, newSpace(t), prefixes(fmt.Sprintf("10.50.%d.2/32", n), fmt.Sprintf("fd50:%d::2/128", n))}
		plug(host, "eth0")
		hop := hopOf(n)
		host.Give("eth0", hop[0].String()+"/24", hop[1].String()+"/64")
		cable(t, host, "port", r.inside, "eth0")
		host.Give("port", "fe80::1/64")
		r.inside.Give("eth0", r.addresses[0].String(), r.addresses[1].String())
		for i, gateway := range []netip.Addr{RoutedGateway, netip.MustParseAddr("fe80::1")} {
			putRoute(host, netlink.Route{Dst: ipNet(r.addresses[i]), Priority: portMetric}, "port")
			putRoute(r.inside, netlink.Route{Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}, "eth0")
		}
		all = append(all, r)
	}
	return all
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func putRoute(s space, r netlink.Route, link string) {
	s.T.Helper()
	if link != "" {
		r.LinkIndex = s.LinkAt(link).Attrs().Index
	}
	s.Do(func() error { return netlink.RouteAdd(&r) })
}

// pools are the CIDRs of the routers' pools.
var pools = prefixes("10.50.0.0/16", "fd50::/16")

// towards is the routing of the nth router to the containers of others.
func towards(all []router, others ...int) Routing {
	r := Routing{Pools: pools, Hops: map[netip.Prefix]Hop{}}
	for _, n := range others {
		for i, a := range all[n-1].addresses {
			bits := [...]int{26, 122}[i]
			r.Hops[netip.PrefixFrom(a.Addr(), bits).Masked()] = Hop{Via: hopOf(n)[i]}
		}
	}
	return r
}

func (r router) set(t testing.TB, want Routing) {
	t.Helper()
	refused, err := r.SetRouting(want)
	if err != nil || len(refused) > 0 {
		t.Fatalf("refused %+v, error %v", refused, err)
	}
}

// own are the routes of our protocol that a host has.
func own(s space) (all []string) {
	s.T.Helper()
	s.Do(func() error {
		sock, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer sock.Close()
		held, err := rtnl.OwnRoutes(sock)
		for _, o := range held {
			way := fmt.Sprint("via ", o.Via)
			if o.Refuses {
				way = "refused"
			}
			all = append(all, fmt.Sprintf("%v %s metric %d", o.To, way, o.Metric))
		}
		return err
	})
	slices.Sort(all)
	return all
}

func expectOwn(t *testing.T, s space, what string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := own(s); !slices.Equal(got, want) {
		t.Errorf("%s: the routes are\n%q\nwant\n%q", what, got, want)
	}
}

var refusals = []string{"10.50.0.0/16 refused metric 4096", "fd50::/16 refused metric 4096"}

func TestContainersOfThreeHostsReachEachOtherByRoutes(t *testing.T) {
	all := newRouters(t, 3)
	for i, r := range all {
		others := slices.DeleteFunc([]int{1, 2, 3}, func(n int) bool { return n == i+1 })
		r.set(t, towards(all, others...))
	}
	for i, from := range all {
		for j, to := range all {
			for _, a := range to.addresses {
				if i != j && !hears(t, from.inside, to.inside, a.Addr(), patience) {
					t.Errorf("the container of host %d does not reach %v, which is on host %d", i+1, a, j+1)
				}
			}
		}
	}
	for i, a := range all[1].addresses {
		if source, ok := arrival(t, all[0].host, all[1].inside, a.Addr(), patience); !ok || source != hopOf(1)[i] {
			t.Errorf("the host's own packets come by %v: want %v, not the gateway's address", source, hopOf(1)[i])
		}
	}
}

// refusedAt connects to an address, and answers with the error that comes back.
func refusedAt(from space, at string) (err error) {
	from.Do(func() error {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", net.JoinHostPort(at, "9"), patience); err == nil {
			c.Close()
		}
		return nil
	})
	return err
}

func TestWhatNobodyHasIsRefusedAtOnce(t *testing.T) {
	all := newRouters(t, 1)
	all[0].set(t, Routing{Pools: pools})
	for _, nobody := range []string{"10.50.9.9", "fd50:9::9"} {
		for name, from := range map[string]space{"the container": all[0].inside, "the host": all[0].host} {
			if err := refusedAt(from, nobody); !offLink(err) {
				t.Errorf("%s to %s: %v; want it refused", name, nobody, err)
			}
		}
	}
}

func TestWhatOthersPutStays(t *testing.T) {
	all := newRouters(t, 2)
	k, host := all[0], all[0].host
	const berths = rtnl.RouteProto
	theirs := netlink.Route{Dst: ipNet(prefixes("10.51.0.0/16")[0]), Gw: hopOf(2)[0].AsSlice(), Protocol: unix.RTPROT_STATIC}
	putRoute(host, theirs, "")
	// A port's, and one that an agent before this one has left behind.
	putRoute(host, netlink.Route{Dst: ipNet(prefixes("10.50.7.7/32")[0]), Protocol: berths, Priority: portMetric}, "port")
	left := netlink.Route{Dst: ipNet(prefixes("10.50.8.0/26")[0]), Gw: hopOf(2)[0].AsSlice(), Protocol: berths, Priority: hopMetric}
	putRoute(host, left, "")
	before := mainTable(host)
	k.set(t, towards(all, 2))
	ports := "10.50.7.7/32 via invalid IP metric 64"
	expectOwn(t, host, "set", append(slices.Clone(refusals), ports,
		"10.50.2.0/26 via 192.0.2.2 metric 128", "fd50:2::/122 via 2001:db8::2 metric 128")...)
	k.set(t, Routing{})
	expectOwn(t, host, "taken off", ports)
	stays := slices.DeleteFunc(before, func(r string) bool { return r == "10.50.8.0/26 via 192.0.2.2 over eth0 in 254" })
	expectTable(t, host, "taken off", stays...)
	host.Do(func() error {
		held, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range held {
			if a.IP.Equal(RoutedGateway.AsSlice()) {
				t.Errorf("the host has the gateway's address still: %v", a)
			}
		}
		return err
	})
}

func TestADeletedRouteIsToldAndComesBack(t *testing.T) {
	all := newRouters(t, 2)
	k, host := all[0], all[0].host
	for _, to := range []string{"10.50.2.0/26", "fd50:2::/122", "10.50.0.0/16", "fd50::/16"} {
		k.set(t, towards(all, 2))
		whole := own(host)
		gone := netlink.Route{Dst: ipNet(netip.MustParsePrefix(to)), Protocol: rtnl.RouteProto, Table: unix.RT_TABLE_MAIN}
		if to == pools[0].String() {
			gone.Type = unix.RTN_UNREACHABLE
		}
		host.Do(func() error { return netlink.RouteDel(&gone) })
		next(t, k.Kernel, HostChanged)
		k.set(t, towards(all, 2))
		expectOwn(t, host, to+" was deleted", whole...)
	}
	k.set(t, towards(all, 2))
	whole := own(host)
	eth0 := host.LinkAt("eth0")
	host.Do(func() error { return errors.Join(netlink.LinkSetDown(eth0), netlink.LinkSetUp(eth0)) })
	next(t, k.Kernel, HostChanged)
	host.Do(func() error {
		return netlink.AddrReplace(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: hopOf(1)[1].AsSlice(), Mask: net.CIDRMask(64, 128)}})
	})
	k.set(t, towards(all, 2))
	expectOwn(t, host, "eth0 was down", whole...)
}

func TestANextHopThatNoLinkReachesCostsOnlyItsOwnRoutes(t *testing.T) {
	all := newRouters(t, 2)
	k, host := all[0], all[0].host
	want := towards(all, 2)
	good := append(slices.Clone(refusals), "10.50.2.0/26 via 192.0.2.2 metric 128", "fd50:2::/122 via 2001:db8::2 metric 128")
	bad := map[netip.Prefix]Hop{}
	for _, p := range prefixes("10.50.3.0/26", "10.50.4.0/26") {
		bad[p] = Hop{Via: netip.MustParseAddr("198.51.100.3")}
	}
	bad[netip.MustParsePrefix("fd50:3::/122")] = Hop{Via: netip.MustParseAddr("2001:db8:3::3")}
	maps.Copy(want.Hops, bad)
	check := func(what string, refused []RefusedHop, err error) {
		t.Helper()
		must(t, err)
		if len(refused) != 2 || refused[0].Routes != 2 || refused[0].To.String() != "10.50.3.0/26" ||
			!refused[0].OffLink || !refused[1].OffLink || refused[0].Hop.String() != "198.51.100.3" {
			t.Errorf("%s: refused are %+v: want both hops that no link reaches", what, refused)
		}
		expectOwn(t, host, what, good...)
	}
	refused, err := k.SetRouting(want)
	check("at first", refused, err)
	refused, err = k.ChangeHops(map[netip.Prefix]Hop{netip.MustParsePrefix("10.50.9.0/26"): {}})
	check("another change", refused, err)
	// What led somewhere leads nowhere after its hop became a bad one: not to its former hop.
	for p := range bad {
		want.Hops[p] = Hop{Via: hopOf(2)[0]}
		if p.Addr().Is6() {
			want.Hops[p] = Hop{Via: hopOf(2)[1]}
		}
	}
	k.set(t, want)
	refused, err = k.ChangeHops(bad)
	check("changed to it", refused, err)
	host.Give("eth0", "198.51.100.1/24", "2001:db8:3::1/64")
	maps.Copy(want.Hops, bad)
	k.set(t, want)
}

func TestANextHopChangesWithoutAGap(t *testing.T) {
	all := newRouters(t, 3)
	all[0].set(t, towards(all, 2))
	all[1].set(t, towards(all, 1, 3))
	all[2].set(t, towards(all, 1, 2))
	for i, a := range all[1].addresses { // host 3 leads there, too, by a way around
		to := netip.PrefixFrom(a.Addr(), [...]int{26, 122}[i]).Masked()
		_, err := all[0].ChangeHops(map[netip.Prefix]Hop{to: {Via: hopOf(3)[i]}})
		must(t, err)
		if !hears(t, all[0].inside, all[1].inside, a.Addr(), patience) { // once, so that all neighbours are known
			t.Fatal("nothing passes by the way around")
		}
		_, err = all[0].ChangeHops(map[netip.Prefix]Hop{to: {Via: hopOf(2)[i]}})
		must(t, err)
		s := nettest.NewStream(t, all[0].inside, all[1].inside, a.Addr())
		for n := range 20 {
			_, err := all[0].ChangeHops(map[netip.Prefix]Hop{to: {Via: hopOf(2 + (n+1)%2)[i]}})
			must(t, err)
			s.Lasts()
		}
		if lost := s.Lost(); lost > 0 {
			t.Errorf("%d datagrams to %v were lost while its next hop changed", lost, a)
		}
	}
}

func TestARoutedPoolsContainersMasquerade(t *testing.T) {
	all := newRouters(t, 2)
	all[0].set(t, Routing{Pools: pools, Masquerade: pools})
	for i := range all[1].addresses {
		if source, ok := arrival(t, all[0].inside, all[1].host, hopOf(2)[i], patience); !ok || source != hopOf(1)[i] {
			t.Errorf("the container's packets come to the next host by %v: want its host's address %v", source, hopOf(1)[i])
		}
	}
}

func TestARouteOfAnotherProgramIsNotReplaced(t *testing.T) {
	all := newRouters(t, 2)
	k, host := all[0], all[0].host
	for i, to := range prefixes("10.50.2.0/26", "fd50:2::/122") {
		putRoute(host, netlink.Route{Dst: ipNet(to), Gw: hopOf(2)[i].AsSlice(), Protocol: unix.RTPROT_STATIC, Priority: hopMetric}, "")
	}
	refused, err := k.SetRouting(towards(all, 2))
	must(t, err)
	if len(refused) != 2 || !errors.Is(refused[0].Err, unix.EEXIST) || refused[0].OffLink {
		t.Errorf("refused are %+v: want both, since the routes exist", refused)
	}
	expectOwn(t, host, "beside another's", refusals...)
}

func TestALaterChangeIsOneOfTheWholeWhereNothingIsKnown(t *testing.T) {
	all := newRouters(t, 2)
	_, err := all[0].ChangeHops(towards(all, 2).Hops)
	must(t, err)
	expectOwn(t, all[0].host, "changed", "10.50.2.0/26 via 192.0.2.2 metric 128", "fd50:2::/122 via 2001:db8::2 metric 128")
	_, err = all[0].ChangeHops(map[netip.Prefix]Hop{netip.MustParsePrefix("10.50.2.0/26"): {}})
	must(t, err)
	expectOwn(t, all[0].host, "one is gone", "fd50:2::/122 via 2001:db8::2 metric 128")
}
