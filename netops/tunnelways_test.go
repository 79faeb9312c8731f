package netops

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/nettest"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// neighbouring are three sites, of which the first two share a network besides, by whose addresses all know them.
func neighbouring(t testing.TB) []site {
	t.Helper()
	all := newSites(t, bothFamilies, bothFamilies, bothFamilies)
	cable(t, all[0].host, "lan", all[1].host, "lan")
	for i := range 2 {
		all[i].locals = nil
		for f, subnet := range [...]string{"198.18.0.%d/24", "2001:db8:0::%d/64"} {
			p := netip.MustParsePrefix(fmt.Sprintf(subnet, i+1))
			all[i].host.Give("lan", p.String())
			single := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			gateway := [...]string{"198.18.%d.2", "2001:db8:%d::2"}[f]
			putRoute(all[i].away, netlink.Route{Dst: ipNet(single), Gw: netip.MustParseAddr(fmt.Sprintf(gateway, i+1)).AsSlice()}, "")
			all[i].locals = append(all[i].locals, p.Addr())
		}
	}
	return all
}

// part makes the two hosts that share a network know no subnet of it, or know it again.
func part(all []site, apart bool) {
	for i := range 2 {
		for f, a := range all[i].locals {
			host, lan := all[i].host, all[i].host.LinkAt("lan")
			subnet, single := netip.PrefixFrom(a, [...]int{24, 64}[f]), netip.PrefixFrom(a, a.BitLen())
			if !apart {
				subnet, single = single, subnet
			}
			host.Do(func() error { return netlink.AddrDel(lan, &netlink.Addr{IPNet: ipNet(subnet)}) })
			host.Give("lan", single.String())
		}
	}
}

func TestTheNearestWayIsDirectWithinASubnetAndATunnelElse(t *testing.T) {
	all := neighbouring(t)
	for n, s := range all {
		s.set(t, through(all, n+1, Nearest))
	}
	direct := []string{"10.50.2.0/26 via 198.18.0.2 metric 128", "fd50:2::/122 via 2001:db8::2 metric 128"}
	expect := func(near bool) {
		t.Helper()
		held := own(all[0].host)
		for _, r := range direct {
			if slices.Contains(held, r) != near {
				t.Errorf("the routes are %q: want that %s is there: %v", held, r, near)
			}
		}
		if far := "10.50.3.0/26 via 198.18.3.2 metric 128"; !slices.Contains(held, far) {
			t.Errorf("the routes are %q: want %s", held, far)
		}
		meet(t, all)
	}
	expect(true)
	for _, apart := range [...]bool{true, false} {
		for i := range 2 {
			settled(t, all[i], through(all, i+1, Nearest))
		}
		part(all, apart)
		for i := range 2 {
			next(t, all[i].Kernel, HostChanged)
			all[i].set(t, through(all, i+1, Nearest))
		}
		if apart {
			// The same prefix, metric and next hop: the link differs.
			direct = []string{"fd50:2::/122 via 2001:db8::2 metric 128"}
		}
		expect(!apart)
	}
}

// settled sets a routing, again after each change of the host that is told, as an agent does.
func settled(t *testing.T, s site, want Routing) {
	t.Helper()
	for news := true; news; {
		s.set(t, want)
		news = false
		for quiet := false; !quiet; {
			select {
			case e := <-s.Events():
				news = news || e.Kind == HostChanged
			case <-time.After(silence):
				quiet = true
			}
		}
	}
}

// loose has a host take packets from where they would not go.
func loose(t *testing.T, host space) {
	t.Helper()
	for _, of := range append(host.Links(), "all") {
		host.Do(func() error { return sysctl.Set("0", sysctl.V4, of, "rp_filter") })
	}
}

func TestAHopChangesBetweenDirectAndTunnelWithoutAGap(t *testing.T) {
	all := neighbouring(t)
	for n, s := range all {
		s.set(t, through(all, n+1, Tunnel))
	}
	loose(t, all[1].host) // what comes by the other way meanwhile is let pass
	for i, a := range all[1].addresses {
		to := netip.PrefixFrom(a.Addr(), [...]int{26, 122}[i]).Masked()
		for _, way := range [...]Way{Direct, Tunnel} { // once, so that all neighbours are known
			_, err := all[0].ChangeHops(map[netip.Prefix]Hop{to: {all[1].locals[i], way}})
			must(t, err)
			if !hears(t, all[0].inside, all[1].inside, a.Addr(), patience) {
				t.Fatalf("nothing passes by way %d", way)
			}
		}
		s := nettest.NewStream(t, all[0].inside, all[1].inside, a.Addr())
		for n := range 20 {
			_, err := all[0].ChangeHops(map[netip.Prefix]Hop{to: {all[1].locals[i], [...]Way{Direct, Tunnel}[n%2]}})
			must(t, err)
			s.Lasts()
		}
		if lost := s.Lost(); lost > 0 {
			t.Errorf("%d datagrams to %v were lost while its way changed", lost, a)
		}
	}
}

func TestANextHopChangesFromOneTunnelledNodeToAnotherWithoutAGap(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies, bothFamilies)
	for i, a := range all[1].addresses { // host 3 leads there, too, by a way around
		to := netip.PrefixFrom(a.Addr(), [...]int{26, 122}[i]).Masked()
		change := func(n int) {
			_, err := all[0].ChangeHops(map[netip.Prefix]Hop{to: {all[1+(n+1)%2].locals[i], Tunnel}})
			must(t, err)
		}
		for n := range 2 { // once, so that all neighbours are known
			change(n)
			if !hears(t, all[0].inside, all[1].inside, a.Addr(), patience) {
				t.Fatalf("%v is not reached by host %d", a, 1+(n+1)%2+1)
			}
		}
		s := nettest.NewStream(t, all[0].inside, all[1].inside, a.Addr())
		for n := range 20 {
			change(n)
			s.Lasts()
		}
		if lost := s.Lost(); lost > 0 {
			t.Errorf("%d datagrams to %v were lost while its next hop changed", lost, a)
		}
	}
}

func TestANodeThatNoTunnelReachedYetIsReachedByAChange(t *testing.T) {
	all := newSites(t, bothFamilies, bothFamilies)
	all[1].set(t, through(all, 2, Tunnel))
	alone := through(all, 1, Tunnel)
	hops := alone.Hops
	alone.Hops, alone.Nodes = map[netip.Prefix]Hop{}, nil
	all[0].set(t, alone)
	refused, err := all[0].ChangeHops(hops)
	if err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	for _, a := range all[1].addresses {
		if !hears(t, all[0].inside, all[1].inside, a.Addr(), patience) {
			t.Errorf("%v is not reached", a)
		}
	}
}

func TestTheFirstHopByTheNearestWayMayComeByAChange(t *testing.T) {
	for name, to := range map[string]int{"in a subnet of this host": 1, "far": 2} {
		t.Run(name, func(t *testing.T) {
			all := neighbouring(t)
			for n := range all {
				all[n].set(t, through(all, n+1, Nearest))
			}
			first, want := all[0], through(all, 1, Nearest)
			first.set(t, Routing{Pools: pools, Locals: want.Locals, Nodes: want.Nodes})
			hops := map[netip.Prefix]Hop{}
			for prefix, hop := range want.Hops {
				if prefix.Contains(all[to].addresses[0].Addr()) || prefix.Contains(all[to].addresses[1].Addr()) {
					hops[prefix] = hop
				}
			}
			refused, err := first.ChangeHops(hops)
			if err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
			for _, a := range all[to].addresses {
				if !hears(t, first.inside, all[to].inside, a.Addr(), patience) {
					t.Errorf("%v is not reached", a)
				}
			}
			direct := !slices.Contains(first.host.Links(), "berth-vx4")
			if direct != (to == 1) {
				t.Errorf("the host has links %v: want a tunnel only to the far one", first.host.Links())
			}
		})
	}
}

func TestATunnelThatCannotBeIsToldInWords(t *testing.T) {
	all := newSites(t, spoken{v4: true}, bothFamilies)
	s, want := all[0], through(all, 1, Tunnel)
	expect := func(what string, words ...string) {
		t.Helper()
		if _, err := s.SetRouting(want); !mentions(err, words...) {
			t.Errorf("%s: error %v: want that it says %q", what, err, words)
		}
	}
	want.Hops[netip.MustParsePrefix("fd50:2::/122")] = Hop{netip.MustParseAddr("2001:db8:2::2"), Tunnel}
	refused, err := s.SetRouting(want)
	must(t, err)
	if len(refused) != 1 || refused[0].OffLink || !strings.Contains(refused[0].Err.Error(), "--node-address") {
		t.Errorf("refused are %+v: want the hop from whose family this node has no address", refused)
	}
	must(t, err)
	_, err = s.SetRouting(Routing{})
	must(t, err)

	addLink(s.host, &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "theirs"}, VxlanId: 98, Port: 4789})
	expect("another device has the identifier", "tunnel berth-vx4", "4789", "98", "vxlan: {id, port}")
	want.Tunnel = TunnelSpec{ID: 99, Port: 4789}
	if _, err := s.SetRouting(want); err != nil {
		t.Errorf("with another identifier: %v", err)
	}
	_, err = s.SetRouting(Routing{})
	must(t, err)

	var theirSocket *net.UDPConn
	want.Tunnel = TunnelSpec{ID: 98, Port: 4790}
	s.host.Do(func() (err error) { theirSocket, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 4790}); return err })
	expect("another program has the port", "tunnel berth-vx4", "4790", "vxlan: {id, port}")
	theirSocket.Close()
	if _, err := s.SetRouting(want); err != nil {
		t.Errorf("when that program has ended: %v", err)
	}
	_, err = s.SetRouting(Routing{})
	must(t, err)

	addLink(s.host, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "berth-vx4"}, PeerName: "peer"})
	expect("another link has the name", "berth-vx4", "veth", "rename it")
	theirs := s.host.LinkAt("berth-vx4")
	s.host.Do(func() error { return netlink.LinkDel(theirs) })

	want.Pools, want.Ways = append(slices.Clone(pools), netip.MustParsePrefix("198.18.0.0/16")), map[netip.Prefix]Way{
		pools[0]: Tunnel, pools[1]: Tunnel, netip.MustParsePrefix("198.18.0.0/16"): Tunnel}
	expect("a pool has the node's address", "198.18.0.0/16", "198.18.1.2", "apart from the nodes' network")
	want = through(all, 1, Tunnel)
	want.Locals = []netip.Addr{netip.MustParseAddr("198.18.9.9")}
	_, err = s.SetRouting(Routing{})
	must(t, err)
	expect("no link has this node's address", "198.18.9.9", "--node-address")
}

func addLink(s space, l netlink.Link) {
	s.Do(func() error { return netlink.LinkAdd(l) })
}

func TestATunnelOfOtherSettingsIsMadeAnew(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	for _, spec := range []TunnelSpec{{ID: 7, Port: 4789}, {ID: 7, Port: 8472}} {
		for n, s := range all {
			want := through(all, n+1, Tunnel)
			want.Tunnel = spec
			s.set(t, want)
			for _, device := range tunnels {
				vx := s.host.LinkAt(device).(*netlink.Vxlan)
				if got := (TunnelSpec{ID: uint32(vx.VxlanId), Port: uint16(vx.Port)}); got != spec {
					t.Errorf("%s has %+v: want %+v", device, got, spec)
				}
			}
		}
		meet(t, all)
	}
}
