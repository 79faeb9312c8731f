package netops

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// newRouter is a host that forwards, and answers for the gateway of routed ports.
func newRouter(t testing.TB) (*Kernel, space) {
	t.Helper()
	k, host := newHost(t)
	host.Do(func() error {
		for _, base := range []string{sysctl.V4, sysctl.V6} {
			if err := sysctl.Set("1", base, "all", "forwarding"); err != nil {
				return err
			}
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		gateway, err := netlink.ParseAddr("169.254.1.1/32")
		if err != nil {
			return err
		}
		gateway.Scope = int(netlink.SCOPE_HOST)
		return netlink.AddrAdd(lo, gateway)
	})
	host.Give("lo", "192.0.2.7/32", "2001:db8::7/128")
	return k, host
}

// routedPort describes the nth port of a router.
func routedPort(t testing.TB, n int) (Port, space) {
	t.Helper()
	p, inside := newPort(t, n)
	p.Bridge, p.Routed, p.OnLink = "", true, true
	p.Gateways = []netip.Addr{netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")}
	p.Answers = prefixes("fe80::1/64")
	for i, a := range p.Addresses {
		p.Addresses[i] = netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
	}
	return p, inside
}

// newRouted makes the nth port of a router, in class stateless.
func newRouted(t testing.TB, k *Kernel, n int) (Port, space) {
	t.Helper()
	p, inside := routedPort(t, n)
	_, err := k.Attach(p)
	must(t, err)
	must(t, k.Lead(p))
	must(t, k.Join(Member{Port: p.Name, Class: "stateless", Routed: true}))
	return p, inside
}

func TestRoutedContainersReachEachOtherAndTheirHost(t *testing.T) {
	k, host := newRouter(t)
	p, inP := newRouted(t, k, 1)
	q, inQ := newRouted(t, k, 2)
	must(t, k.Check(p))
	for i := range p.Addresses {
		if !hears(t, inP, inQ, q.Addresses[i].Addr(), patience) {
			t.Errorf("container %v hears nothing from the other", q.Addresses[i])
		}
		if !hears(t, host, inP, p.Addresses[i].Addr(), patience) {
			t.Errorf("container %v hears nothing from its host", p.Addresses[i])
		}
	}
	for _, beyond := range []string{"192.0.2.7", "2001:db8::7"} {
		if !hears(t, inP, host, netip.MustParseAddr(beyond), patience) {
			t.Errorf("the host's %s hears nothing from a container", beyond)
		}
	}
}

// The first packet each way needs no answer to a solicitation, which a link that has just been made may not hear.
func TestARoutedContainerAndItsHostKnowEachOthersMACInIPv6FromTheStart(t *testing.T) {
	k, host := newRouter(t)
	p, inside := routedPort(t, 1)
	made, err := k.Attach(p)
	must(t, err)
	must(t, k.Lead(p))
	knows := func(in space, link, neighbour, mac string) {
		t.Helper()
		in.Do(func() error {
			l, err := netlink.LinkByName(link)
			must(t, err)
			all, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V6)
			must(t, err)
			if !slices.ContainsFunc(all, func(n netlink.Neigh) bool { return n.IP.String() == neighbour && n.HardwareAddr.String() == mac }) {
				t.Errorf("neighbours over %s are %v: want %s with %s", link, all, neighbour, mac)
			}
			return nil
		})
	}
	knows(host, p.Name, p.Addresses[1].Addr().String(), made.MAC)
	knows(inside, p.Interface, "fe80::1", made.HostMAC)
}

func TestNothingArrivesAtARoutedPortThatHasLeftItsClass(t *testing.T) {
	k, host := newRouter(t)
	p, inP := newRouted(t, k, 1)
	_, inQ := newRouted(t, k, 2)
	must(t, k.Leave(p.Name))
	for _, a := range p.Addresses {
		if hears(t, inQ, inP, a.Addr(), silence) {
			t.Errorf("%v still hears somebody", a)
		}
	}
	found, err := k.RoutedFaults([]Port{p})
	must(t, err)
	if len(found) != 1 || found[0].Kind != "port-unrouted" {
		t.Errorf("the host still routes to it: faults %v", found)
	}
	must(t, k.Lead(p))
	must(t, k.Join(Member{Port: p.Name, Class: "stateless", Routed: true}))
	for _, a := range p.Addresses {
		if !hears(t, host, inP, a.Addr(), patience) {
			t.Errorf("%v hears nothing after it has come back", a)
		}
	}
}

func TestARoutedPortThatWasTakenDownIsFoundAndComesBack(t *testing.T) {
	k, host := newRouter(t)
	p, inP := newRouted(t, k, 1)
	found, err := k.RoutedFaults([]Port{p})
	must(t, err)
	if len(found) != 0 {
		t.Fatalf("faults of a port as it was made: %v", found)
	}
	host.Do(func() error { return netlink.LinkSetDown(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p.Name}}) })
	found, err = k.RoutedFaults([]Port{p})
	must(t, err)
	if len(found) != 1 || found[0].Kind != "port-down" {
		t.Errorf("faults %v: want port-down", found)
	}
	must(t, k.Lead(p))
	for _, a := range p.Addresses {
		if !hears(t, host, inP, a.Addr(), patience) {
			t.Errorf("%v hears nothing after it has come back", a)
		}
	}
}

func TestARoutedPortIsUpdatedAndDetached(t *testing.T) {
	k, _ := newRouter(t)
	p, _ := newRouted(t, k, 1)
	to := p
	to.MTU = 1400
	must(t, k.Update(to, p))
	must(t, k.Check(to))
	must(t, k.Update(p, to))
	must(t, k.Check(p))
	again, err := k.Attach(p)
	must(t, err)
	if again.MTU != 1500 {
		t.Errorf("MTU %d: want 1500", again.MTU)
	}
	must(t, k.Detach(p.Name))
	must(t, k.Leave(p.Name))
	if k.Check(p) == nil {
		t.Error("it is still there")
	}
}

func TestARoutedContainerSendsOnlyFromItsOwnAddressesUnlessItIsTrusted(t *testing.T) {
	k, host := newRouter(t)
	p, inP := newRouted(t, k, 1)
	q, _ := newRouted(t, k, 2)
	inP.Give("lo", q.Addresses[0].String(), q.Addresses[1].String())
	for i, to := range []string{"192.0.2.7", "2001:db8::7"} {
		own, others := p.Addresses[i].Addr(), q.Addresses[i].Addr()
		if !arrives(t, inP, own, host, to) {
			t.Errorf("from its own address %v nothing arrives", own)
		}
		if arrives(t, inP, others, host, to) {
			t.Errorf("it sends from %v, another's address", others)
		}
		must(t, k.Restrict(Member{Port: p.Name, Class: "stateless", Routed: true, Trusted: true}))
		if !arrives(t, inP, others, host, to) {
			t.Errorf("it is trusted, and cannot send from %v", others)
		}
		must(t, k.Restrict(Member{Port: p.Name, Class: "stateless", Routed: true}))
	}
}

// arrives reports whether a datagram from a source arrives at an address of a host.
func arrives(t *testing.T, from space, source netip.Addr, at space, to string) (is bool) {
	t.Helper()
	var server *net.UDPConn
	at.Do(func() (err error) { server, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(to)}); return err })
	defer server.Close()
	from.Do(func() error {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: source.AsSlice()}, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return err
		}
		defer c.Close()
		for range 3 { // the first may be lost while neighbours are found
			if _, err := c.Write([]byte("from " + source.String())); err != nil {
				return err
			}
			_ = server.SetReadDeadline(time.Now().Add(silence / 3))
			if _, who, err := server.ReadFromUDPAddrPort(make([]byte, 64)); err == nil && who.Addr().Unmap() == source {
				is = true
				return nil
			}
		}
		return nil
	})
	return is
}

func TestARoutedContainerReachesItselfAndItsNeighbourByAService(t *testing.T) {
	k, host := newRouter(t)
	outside(t, host)
	host.Do(func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.2")}) })
	p, inside := newRouted(t, k, 1)
	q, other := newRouted(t, k, 2)
	at := netip.MustParseAddr("10.96.0.10")
	service(host, "services", "any", at, p.Addresses[0].Addr())
	if source, ok := asks(t, inside, inside, at, patience); !ok || !source.IsValid() || source == p.Addresses[0].Addr() {
		t.Errorf("by its own Service it is answered: %v, and asked from %v", ok, source)
	}
	if source, ok := asks(t, other, inside, at, patience); !ok || source != q.Addresses[0].Addr() {
		t.Errorf("another one is answered: %v, and asks from %v", ok, source)
	}
	if source, ok := asks(t, host, inside, at, patience); !ok || source != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("the host is answered: %v, and asks from %v", ok, source)
	}
}

// Load balancers have hosts answer ARP only for addresses of the link that asks (arp_ignore): the gateway is on another one.
func TestARoutedContainerReachesItsGatewayWhateverTheHostAnswers(t *testing.T) {
	k, host := newRouter(t)
	host.Do(func() error { return sysctl.Set("1", sysctl.V4, "all", "arp_ignore") })
	_, inside := newRouted(t, k, 1)
	if !hears(t, inside, host, netip.MustParseAddr("192.0.2.7"), patience) {
		t.Error("the host hears nothing from the container")
	}
}
