package netops

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// A site is a host with one container, on a network of its own behind a router that knows nothing of containers.
type site struct {
	router
	locals []netip.Addr
	away   space // the router between all sites
}

// spoken says which addresses a host of a site has.
type spoken struct{ v4, v6 bool }

var bothFamilies = spoken{true, true}

// newSites makes a host with a container for each of the given; everywhere packets from where nothing leads back are dropped.
func newSites(t testing.TB, have ...spoken) (all []site) {
	t.Helper()
	away := newSpace(t)
	forwards(away)
	for i, has := range have {
		n := i + 1
		k, host := newHost(t)
		forwards(host)
		nic := fmt.Sprint("site", n)
		cable(t, away, nic, host, "eth0")
		s := site{router{k, host, newSpace(t), prefixes(fmt.Sprintf("10.50.%d.2/32", n), fmt.Sprintf("fd50:%d::2/128", n))}, nil, away}
		if has.v4 {
			away.Give(nic, fmt.Sprintf("198.18.%d.1/24", n))
			s.gain(fmt.Sprintf("198.18.%d.2/24", n), fmt.Sprintf("198.18.%d.1", n))
		}
		if has.v6 {
			away.Give(nic, fmt.Sprintf("2001:db8:%d::1/64", n))
			s.gain(fmt.Sprintf("2001:db8:%d::2/64", n), fmt.Sprintf("2001:db8:%d::1", n))
		}
		s.contain()
		all = append(all, s)
	}
	return all
}

func forwards(s space) {
	s.Do(func() error {
		for _, of := range [...]string{"all", "default"} {
			if err := sysctl.Set("1", sysctl.V4, of, "rp_filter"); err != nil {
				return err
			}
			for _, base := range [...]string{sysctl.V4, sysctl.V6} {
				if err := sysctl.Set("1", base, of, "forwarding"); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// gain gives a host an address, by which others know it, and a way to the other sites.
func (s *site) gain(address, gateway string) {
	s.host.Give("eth0", address)
	s.locals = append(s.locals, netip.MustParsePrefix(address).Addr())
	putRoute(s.host, netlink.Route{Gw: netip.MustParseAddr(gateway).AsSlice()}, "eth0")
}

// contain cables the container, whose packets are as great as a tunnel over IPv6 lets pass.
func (s *site) contain() {
	cable(s.host.T, s.host, "port", s.inside, "eth0")
	s.host.Give("port", "fe80::1/64")
	s.inside.Give("eth0", s.addresses[0].String(), s.addresses[1].String())
	for i, gateway := range []netip.Addr{RoutedGateway, netip.MustParseAddr("fe80::1")} {
		putRoute(s.host, netlink.Route{Dst: ipNet(s.addresses[i]), Priority: portMetric}, "port")
		putRoute(s.inside, netlink.Route{Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}, "eth0")
	}
	s.setMTU(1430)
}

func (s *site) setMTU(mtu int) {
	for of, name := range map[space]string{s.host: "port", s.inside: "eth0"} {
		l := of.LinkAt(name)
		of.Do(func() error { return netlink.LinkSetMTU(l, mtu) })
	}
}

// through is the routing of the nth site to all others, in pools of one way.
func through(all []site, n int, way Way) Routing {
	own := all[n-1]
	r := Routing{Pools: pools, Hops: map[netip.Prefix]Hop{}, Ways: map[netip.Prefix]Way{pools[0]: way, pools[1]: way}, Locals: own.locals}
	for i, other := range all {
		if i == n-1 {
			continue
		}
		r.Nodes = append(r.Nodes, other.locals)
		for j, a := range other.addresses {
			to := netip.PrefixFrom(a.Addr(), [...]int{26, 122}[j]).Masked()
			r.Hops[to] = Hop{Towards(a.Addr().Is4(), other.locals, own.locals), way}
		}
	}
	return r
}

// joined are sites whose hosts all have their routes.
func joined(t testing.TB, way Way, have ...spoken) []site {
	t.Helper()
	all := newSites(t, have...)
	for n, s := range all {
		s.set(t, through(all, n+1, way))
	}
	return all
}

// meet expects all containers to reach each other, and the hosts the containers and back, with packets of a size.
func meet(t *testing.T, all []site) {
	t.Helper()
	for i, from := range all {
		for j, to := range all {
			if i == j {
				continue
			}
			for f, a := range to.addresses {
				if source, ok := arrival(t, from.inside, to.inside, a.Addr(), patience); !ok || source != from.addresses[f].Addr() {
					t.Errorf("container %d does not reach %v on host %d, or as %v", i+1, a, j+1, source)
				}
				own, theirs := ofFamily(a.Addr().Is4(), from.locals), ofFamily(a.Addr().Is4(), to.locals)
				if own.IsValid() {
					if source, ok := arrival(t, from.host, to.inside, a.Addr(), patience); !ok || source != own {
						t.Errorf("host %d does not reach %v on host %d, or as %v", i+1, a, j+1, source)
					}
				}
				if theirs.IsValid() {
					if source, ok := arrival(t, from.inside, to.host, theirs, patience); !ok || source != from.addresses[f].Addr() {
						t.Errorf("container %d does not reach host %d at %v, or as %v", i+1, j+1, theirs, source)
					}
				}
			}
		}
	}
}

func TestContainersOfHostsWithoutACommonNetworkReachEachOtherThroughATunnel(t *testing.T) {
	meet(t, joined(t, Tunnel, bothFamilies, bothFamilies, bothFamilies))
}

func TestATunnelBetweenHostsOfOneFamilyCarriesBoth(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) { meet(t, joined(t, Tunnel, spoken{v4: true}, spoken{v4: true})) })
	t.Run("IPv6", func(t *testing.T) { meet(t, joined(t, Tunnel, spoken{v6: true}, spoken{v6: true})) })
	t.Run("both and IPv4", func(t *testing.T) { meet(t, joined(t, Tunnel, bothFamilies, spoken{v4: true})) })
}
