package netops

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// tunnelState is what a host has of tunnels: devices, their addresses, neighbours and forwarding entries, rules and routes.
func tunnelState(s space) (all []string) {
	s.T.Helper()
	s.Do(func() error {
		sock, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer sock.Close()
		links, err := rtnl.Links(sock)
		for _, l := range links {
			if !isTunnel(l.Name) {
				continue
			}
			all = append(all, fmt.Sprint(l.Name, l.Vxlan, l.MAC, l.MTU, l.Up(), l.Alias))
			held, err := rtnl.AddressesOf(sock, unix.AF_UNSPEC, l.Index)
			must(s.T, err)
			for _, a := range held {
				all = append(all, fmt.Sprint(l.Name, " has ", a.Prefix))
			}
			near, err := rtnl.NeighboursOf(sock, l.Index)
			must(s.T, err)
			for _, n := range near {
				if n.Lasts {
					all = append(all, fmt.Sprint(l.Name, " neighbour ", n))
				}
			}
		}
		rules, rulesErr := rtnl.OwnRules(sock)
		must(s.T, rulesErr)
		for _, r := range rules {
			all = append(all, fmt.Sprint("rule ", r))
		}
		return err
	})
	all = append(all, own(s)...)
	slices.Sort(all)
	return all
}

// spoilers are what others may do to a tunnel.
func spoilers(host space) map[string]func() error {
	vx := host.LinkAt("berth-vx4")
	index := vx.Attrs().Index
	node, far := netip.MustParseAddr("198.18.2.2"), tunnelLinkLocal(netip.MustParseAddr("198.18.2.2"))
	mac := tunnelMAC(node)
	all := map[string]func() error{
		"the device":         func() error { return netlink.LinkDel(host.LinkAt("berth-vx4")) },
		"the device is down": func() error { return netlink.LinkSetDown(vx) },
		"its MTU":            func() error { return netlink.LinkSetMTU(vx, 1300) },
		"an address": func() error {
			return netlink.AddrDel(vx, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.18.1.2/32"))})
		},
		"the way to a node": func() error {
			return netlink.NeighDel(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
				HardwareAddr: mac[:], IP: node.AsSlice()})
		},
		"a route": func() error {
			return netlink.RouteDel(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.50.2.0/26")), Protocol: rtnl.RouteProto})
		},
		"a route to a node": func() error {
			return netlink.RouteDel(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("198.18.2.2/32")), Table: 98, Protocol: rtnl.RouteProto})
		},
	}
	for _, a := range [...]netip.Addr{node, far} {
		all[fmt.Sprint("neighbour ", a)] = func() error { return netlink.NeighDel(&netlink.Neigh{LinkIndex: index, IP: a.AsSlice()}) }
	}
	for _, pool := range pools {
		all[fmt.Sprint("rule of ", pool)] = func() error {
			r := netlink.NewRule()
			r.Src, r.Table, r.Priority = ipNet(pool), 98, 98
			return netlink.RuleDel(r)
		}
	}
	return all
}

func TestWhatOthersTakeOfATunnelIsToldAndComesBack(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	s, want := all[0], through(all, 1, Tunnel)
	settled(t, s, want)
	whole := tunnelState(s.host)
	for _, pool := range pools { // of its containers' packets alone: the host's own to a node do not go through the tunnel
		if rule := fmt.Sprint("rule ", rtnl.OwnRule{From: pool, Table: 98}); !slices.Contains(whole, rule) {
			t.Fatalf("there is\n%q\nwant %s", whole, rule)
		}
	}
	for what := range spoilers(s.host) {
		s.host.Do(func() error { return spoilers(s.host)[what]() })
		if slices.Equal(tunnelState(s.host), whole) {
			t.Errorf("%s was not spoilt", what)
		}
		next(t, s.Kernel, HostChanged)
		settled(t, s, want)
		if got := tunnelState(s.host); !slices.Equal(got, whole) {
			t.Errorf("%s: there is\n%q\nwant\n%q", what, got, whole)
		}
	}
	meet(t, all)
}

// What the monitor hears of a tunnel's entries and rules is news where a node or a pool needs them, once until all is compared again.
func TestTheEndOfWhatATunnelNeedsIsNewsAndOthersEntriesAreNot(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	k := all[0].Kernel
	expect := func(what string, is bool, tell func() bool) {
		t.Helper()
		k.routing.comparing() // as by a comparison: what has come before is news no more
		if got := tell(); got != is {
			t.Errorf("that the end of %s is news: %t, want %t", what, got, is)
		}
		if tell() {
			t.Errorf("the end of %s is news twice", what)
		}
	}
	gone := func(a netip.Addr, index int) func() bool {
		return func() bool { return k.routing.neighbourGone(rtnl.Neighbour{Address: a}, index) }
	}
	for _, node := range all[1].locals {
		index := all[0].host.LinkAt(tunnels[node.Is4()]).Attrs().Index
		expect("a node's entry", true, gone(node, index))
		expect("a node's neighbour", true, gone(tunnelLinkLocal(node), index))
		expect("an entry of another address", false, gone(netip.MustParseAddr("198.18.9.9"), index))
		expect("an entry of another link", false, gone(node, all[0].host.LinkAt("eth0").Attrs().Index))
	}
	for _, pool := range pools {
		rule := rtnl.OwnRule{From: pool, Table: 98}
		expect("a pool's rule", true, func() bool { return k.routing.ruleGone(rule) })
		rule.Table = 99
		expect("a rule of the other table", false, func() bool { return k.routing.ruleGone(rule) })
	}
}

func TestAForwardingEntryOfOthersInATunnelIsTakenAway(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	whole, vx := tunnelState(all[0].host), all[0].host.LinkAt("berth-vx4")
	all[0].host.Do(func() error { // what is unknown would go there
		return netlink.NeighAppend(&netlink.Neigh{LinkIndex: vx.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
			State: netlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{0, 0, 0, 0, 0, 0}, IP: net.ParseIP("198.18.9.9")})
	})
	all[0].set(t, through(all, 1, Tunnel))
	if got := tunnelState(all[0].host); !slices.Equal(got, whole) {
		t.Errorf("there is\n%q\nwant\n%q", got, whole)
	}
}

// everything is a host's census, its rules, and what is in the tables of nftables.
func everything(t *testing.T, host space) []string {
	t.Helper()
	all := append(census(t, host), tunnelState(host)...)
	host.Do(func() error {
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		for _, r := range rules {
			all = append(all, fmt.Sprint("rule ", r))
		}
		must(t, err)
		c := &nftables.Conn{}
		chains, err := c.ListChains()
		for _, chain := range chains {
			all = append(all, fmt.Sprint("chain ", chain.Table.Family, chain.Table.Name, chain.Name))
		}
		must(t, err)
		tables, err := c.ListTables()
		for _, table := range tables {
			sets, err := c.GetSets(table)
			must(t, err)
			for _, set := range sets {
				all = append(all, fmt.Sprint("set ", table.Family, table.Name, set.Name))
			}
		}
		return err
	})
	slices.Sort(all)
	return all
}

func TestWithTheLastTunnelledPoolAllOfTheTunnelsIsGone(t *testing.T) {
	all := newSites(t, bothFamilies, spoken{v4: true}, spoken{v6: true})
	s := all[0]
	before := everything(t, s.host)
	s.set(t, through(all, 1, Tunnel))
	if slices.Equal(everything(t, s.host), before) {
		t.Fatal("there is nothing of tunnels")
	}
	s.set(t, Routing{})
	if after := everything(t, s.host); !slices.Equal(after, before) {
		t.Errorf("before:\n%q\nafter:\n%q", before, after)
	}
}

func TestANodeThatIsGoneIsInNoTunnel(t *testing.T) {
	all := newSites(t, bothFamilies, bothFamilies, bothFamilies)
	s := all[0]
	s.set(t, through(all[:2], 1, Tunnel))
	before := tunnelState(s.host)
	s.set(t, through(all, 1, Tunnel))
	s.set(t, through(all[:2], 1, Tunnel))
	if after := tunnelState(s.host); !slices.Equal(after, before) {
		t.Errorf("before:\n%q\nafter:\n%q", before, after)
	}
}

func TestCleanupTakesTunnelsAway(t *testing.T) {
	all := newSites(t, bothFamilies, bothFamilies)
	s := all[0]
	s.Close()
	s.host.Do(func() error { c := &nftables.Conn{}; c.FlushRuleset(); return c.Flush() })
	before := everything(t, s.host)
	s.host.Do(func() (err error) { s.Kernel, err = Open(); return err })
	s.set(t, through(all, 1, Tunnel))
	s.Close()
	kinds := cleaned(t, s.host)
	for _, kind := range []string{RemnantRule, RemnantTunnel, RemnantRoute, RemnantTable} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no %s was found: %v", kind, kinds)
		}
	}
	if after := everything(t, s.host); !slices.Equal(after, before) {
		t.Errorf("before:\n%q\nafter:\n%q", before, after)
	}
}
