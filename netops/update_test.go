package netops

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// table is every route of a namespace's main and further tables, as a person reads it, but those of the kernel's own making.
func mainTable(s space) (all []string) {
	s.T.Helper()
	s.Do(func() error {
		sock, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer sock.Close()
		held, err := rtnl.Routes(sock)
		for _, r := range held {
			name := fmt.Sprint(r.Index)
			if l, err := net.InterfaceByIndex(r.Index); err == nil {
				name = l.Name
			}
			if !r.To.Addr().IsLinkLocalUnicast() {
				all = append(all, fmt.Sprintf("%v via %v over %s in %d", r.To, r.Via, name, r.Table))
			}
		}
		return err
	})
	slices.Sort(all)
	return all
}

// routed gives a link more routes, as a later plugin of the chain would.
func routed(t *testing.T, link string, ways ...Route) error {
	for _, w := range ways {
		r := &netlink.Route{LinkIndex: named(t, link).Attrs().Index, Dst: addr(w.To.String()).IPNet}
		if w.Via.IsValid() {
			r.Gw = w.Via.AsSlice()
		}
		if err := netlink.RouteAppend(r); err != nil {
			return err
		}
	}
	return nil
}

func way(to, via string) Route {
	r := Route{To: netip.MustParsePrefix(to)}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

// second gives a container another plugin's interface "net1", whose other end is in a namespace of its own.
func second(t *testing.T, inside space) {
	t.Helper()
	far := newSpace(t)
	cable(t, inside, "net1", far, "eth0")
	inside.Give("net1", "172.16.0.2/24", "fd16::2/64")
}

func expectTable(t *testing.T, s space, what string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := mainTable(s); !slices.Equal(got, want) {
		t.Errorf("%s: the routes are\n%q\nwant\n%q", what, got, want)
	}
}

var subnets = []string{"10.42.0.0/16 via invalid IP over eth0 in 254", "fd42::/64 via invalid IP over eth0 in 254"}

func TestAnUpdateBringsRoutesAndMTUInBothFamilies(t *testing.T) {
	k, host := newBridge(t)
	from, inside := newContainer(t, k, 1)
	from.Routes = nil
	to := from
	to.MTU = 1400
	to.Gateways = []netip.Addr{netip.MustParseAddr("10.42.0.9"), netip.MustParseAddr("fd42::9")}
	to.Routes = []Route{way("10.99.0.0/16", "10.42.0.9"), way("fd99::/32", "fd42::9")}
	for range 2 {
		must(t, k.Update(to, from))
		expectTable(t, inside, "there", append(slices.Clone(subnets),
			"0.0.0.0/0 via 10.42.0.9 over eth0 in 254", "::/0 via fd42::9 over eth0 in 254",
			"10.99.0.0/16 via 10.42.0.9 over eth0 in 254", "fd99::/32 via fd42::9 over eth0 in 254")...)
		must(t, k.Check(to))
	}
	if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != 1400 || inner != 1400 {
		t.Errorf("the MTUs are %d and %d, want 1400", outer, inner)
	}
	must(t, k.Update(from, to))
	expectTable(t, inside, "and back", append(slices.Clone(subnets),
		"0.0.0.0/0 via 10.42.0.1 over eth0 in 254", "::/0 via fd42::1 over eth0 in 254")...)
	if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != 1500 || inner != 1500 {
		t.Errorf("the MTUs are %d and %d, want the bridge's, 1500", outer, inner)
	}
}

func TestAnUpdateLeavesTheRoutesOfOthersAlone(t *testing.T) {
	k, _ := newBridge(t)
	from, inside := newContainer(t, k, 1)
	second(t, inside)
	theirs := []Route{way("10.99.0.0/16", "172.16.0.1"), way("fd99::/32", "fd16::1"), way("192.0.2.0/24", "172.16.0.1"),
		way("2001:db8::/32", "fd16::1")}
	inside.Do(func() error { return routed(t, "net1", theirs...) })
	before := mainTable(inside)
	to := from
	to.Routes = []Route{way("10.99.0.0/16", "10.42.0.1"), way("fd99::/32", "fd42::1")}
	must(t, k.Update(to, from))
	expectTable(t, inside, "net1's routes are where the pool's would be", before...)
	must(t, k.Check(to))
	must(t, k.Update(from, to))
	expectTable(t, inside, "the pool's routes are gone again, which were never put", before...)

	// The default route was another's before: the pool's gateway moves, and the route does not.
	inside.Do(func() error {
		if err := netlink.RouteDel(&netlink.Route{Dst: addr("0.0.0.0/0").IPNet, Gw: net.ParseIP("10.42.0.1")}); err != nil {
			return err
		}
		return routed(t, "net1", way("0.0.0.0/0", "172.16.0.1"))
	})
	before = mainTable(inside)
	to = from
	to.Gateways = []netip.Addr{netip.MustParseAddr("10.42.0.9"), netip.MustParseAddr("fd42::1")}
	must(t, k.Update(to, from))
	expectTable(t, inside, "the default route is net1's", before...)
}

func TestAnUpdateOfAGatewayKeepsAnothersRouteBehindIt(t *testing.T) {
	k, _ := newBridge(t)
	from, inside := newContainer(t, k, 1)
	second(t, inside)
	inside.Do(func() error { return routed(t, "net1", way("0.0.0.0/0", "172.16.0.1")) })
	to := from
	to.Gateways = []netip.Addr{netip.MustParseAddr("10.42.0.9"), netip.MustParseAddr("fd42::1")}
	must(t, k.Update(to, from))
	want := append(slices.Clone(subnets), "172.16.0.0/24 via invalid IP over net1 in 254", "fd16::/64 via invalid IP over net1 in 254",
		"0.0.0.0/0 via 10.42.0.9 over eth0 in 254", "0.0.0.0/0 via 172.16.0.1 over net1 in 254", "::/0 via fd42::1 over eth0 in 254")
	expectTable(t, inside, "afterwards", want...)
}

func TestAnUpdateOfRoutesLeavesTheMTUOfALaterPlugin(t *testing.T) {
	k, host := newBridge(t)
	from, inside := newContainer(t, k, 1)
	inside.Do(func() error { return netlink.LinkSetMTU(named(t, "eth0"), 1300) })
	host.Do(func() error { return netlink.LinkSetMTU(named(t, from.Name), 1499) })
	to := from
	to.Routes = []Route{way("10.99.0.0/16", "10.42.0.1")}
	must(t, k.Update(to, from))
	if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != 1499 || inner != 1300 {
		t.Errorf("the MTUs are %d and %d: only a route was changed", outer, inner)
	}
	for mtu, want := range map[int]int{1450: 1300, 1400: 1300} {
		to.MTU = mtu
		must(t, k.Update(to, from))
		if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != mtu || inner != want {
			t.Errorf("the MTUs are %d and %d: want %d, and the other plugin's %d", outer, inner, mtu, want)
		}
	}
	to.MTU = 1280
	must(t, k.Update(to, from))
	if inner := inside.LinkAt("eth0").Attrs().MTU; inner != 1280 {
		t.Errorf("the container's end has MTU %d, and its other end takes only 1280", inner)
	}
}

func TestAnUpdatePutsNothingBackThatItWasNotAskedToChange(t *testing.T) {
	k, _ := newBridge(t)
	from, inside := newContainer(t, k, 1)
	inside.Do(func() error {
		return netlink.RouteDel(&netlink.Route{Dst: addr("0.0.0.0/0").IPNet, Gw: net.ParseIP("10.42.0.1")})
	})
	to := from
	to.Routes = []Route{way("10.99.0.0/16", "10.42.0.1")}
	must(t, k.Update(to, from))
	expectTable(t, inside, "somebody has removed the default route", append(slices.Clone(subnets),
		"10.99.0.0/16 via 10.42.0.1 over eth0 in 254", "::/0 via fd42::1 over eth0 in 254")...)
}

// rearrangements are what others do to a container's interface, and what an update says then.
var rearrangements = map[string]struct {
	do    func(t *testing.T, p Port) error
	says  string
	check string // what CHECK says; none: it is content
}{
	// What the CNI plugin sbr does: the routes lead from a table of their own.
	"source-based routing": {says: "moved to another table", do: func(t *testing.T, p Port) error {
		eth0 := named(t, "eth0")
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			all, err := netlink.RouteList(eth0, family)
			if err != nil {
				return err
			}
			for _, r := range all {
				if r.Gw == nil {
					continue
				}
				r.Table, r.Flags = 100, 0
				if err := netlink.RouteReplace(&r); err != nil {
					return err
				}
				r.Table = 254
				if err := netlink.RouteDel(&r); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	// What KubeVirt's bridge binding does: the interface is renamed, and a dummy link has its name and address.
	"bridge binding": {says: "is called eth0-nic now", check: "which is called eth0-nic now", do: func(t *testing.T, p Port) error {
		if err := netlink.LinkSetDown(named(t, "eth0")); err != nil {
			return err
		}
		if err := netlink.LinkSetName(named(t, "eth0"), "eth0-nic"); err != nil {
			return err
		}
		for _, a := range p.Addresses {
			if err := netlink.AddrDel(named(t, "eth0-nic"), addr(a.String())); err != nil && a.Addr().Is4() {
				return err // IPv6's went with the link
			}
		}
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "dummy"}); err != nil {
			return err
		}
		return netlink.AddrAdd(named(t, "eth0"), addr(p.Addresses[0].String()))
	}},
	"address gone": {says: "has left it", check: "lacks address 10.42.", do: func(t *testing.T, p Port) error {
		return netlink.AddrDel(named(t, "eth0"), addr(p.Addresses[0].String()))
	}},
}

func TestAnUpdateOfWhatWasRearrangedSaysSoAndChangesNothing(t *testing.T) {
	for name, r := range rearrangements {
		t.Run(name, func(t *testing.T) {
			k, host := newBridge(t)
			from, inside := newContainer(t, k, 1)
			inside.Do(func() error { return r.do(t, from) })
			before := mainTable(inside)
			to := from
			to.MTU, to.Routes = 1400, []Route{way("10.99.0.0/16", "10.42.0.1"), way("fd99::/32", "fd42::1")}
			err := k.Update(to, from)
			if _, ok := errors.AsType[*RearrangedError](err); !ok || !mentions(err, "eth0", r.says) {
				t.Errorf("error %v, want one that says %q", err, r.says)
			}
			expectTable(t, inside, "afterwards", before...)
			if mtu := host.LinkAt(to.Name).Attrs().MTU; mtu != 1500 {
				t.Errorf("the port has MTU %d: nothing was to change", mtu)
			}
			if err := k.Check(from); r.check == "" && err != nil || r.check != "" && !mentions(err, r.check) {
				t.Errorf("CHECK says %v, want %q", err, r.check)
			}
		})
	}
}

func TestOnlyTheMTUOfAContainerWithMovedRoutesIsChanged(t *testing.T) {
	k, host := newBridge(t)
	from, inside := newContainer(t, k, 1)
	inside.Do(func() error { return rearrangements["source-based routing"].do(t, from) })
	to := from
	to.MTU = 1400
	must(t, k.Update(to, from))
	if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != 1400 || inner != 1400 {
		t.Errorf("the MTUs are %d and %d, want 1400", outer, inner)
	}
}

func TestAnUpdateThatFailsChangesNothing(t *testing.T) {
	k, host := newBridge(t)
	from, inside := newContainer(t, k, 1)
	before := mainTable(inside)
	to := from
	to.MTU, to.Routes = 1600, []Route{way("10.99.0.0/16", "10.42.0.1"), way("10.98.0.0/16", "192.0.2.1")} // by no neighbour
	if err := k.Update(to, from); !mentions(err, "10.98.0.0/16") {
		t.Fatalf("error %v", err)
	}
	expectTable(t, inside, "afterwards", before...)
	if outer, inner := host.LinkAt(to.Name).Attrs().MTU, inside.LinkAt("eth0").Attrs().MTU; outer != 1500 || inner != 1500 {
		t.Errorf("the MTUs are %d and %d, want 1500", outer, inner)
	}
}

func TestAttachLeavesADestinationToWhoeverLeadsThere(t *testing.T) {
	k, _ := newBridge(t)
	p, inside := newPort(t, 1)
	second(t, inside)
	inside.Do(func() error {
		for _, r := range []*netlink.Route{
			{LinkIndex: named(t, "net1").Attrs().Index, Gw: net.ParseIP("172.16.0.1"), Dst: addr("0.0.0.0/0").IPNet, Priority: 100},
			{LinkIndex: named(t, "net1").Attrs().Index, Gw: net.ParseIP("fd16::1"), Dst: addr("::/0").IPNet, Priority: 2000},
		} {
			if err := netlink.RouteAdd(r); err != nil {
				return err
			}
		}
		return nil
	})
	before := mainTable(inside)
	_, err := k.Attach(p)
	must(t, err)
	expectTable(t, inside, "whatever its metric", append(before, subnets...)...)
	must(t, k.Check(p))
}
