package fence

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// arrivesAt reports whether a datagram arrives at a port of an address; what is not to arrive is awaited for a short time.
func arrivesAt(t *testing.T, from, to space, at netip.AddrPort, within time.Duration) bool {
	t.Helper()
	return arrivesBy(t, from, netip.Addr{}, to, at, within)
}

// arrivesBy is about a datagram from a source address. It begins as a packet of tunnel 98 does.
func arrivesBy(t *testing.T, from space, source netip.Addr, to space, at netip.AddrPort, within time.Duration) bool {
	t.Helper()
	var server, client *net.UDPConn
	to.Do(func() (err error) { server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); return err })
	defer server.Close()
	from.Do(func() (err error) {
		client, err = net.DialUDP("udp", &net.UDPAddr{IP: source.AsSlice()}, net.UDPAddrFromAddrPort(at))
		return err
	})
	defer client.Close()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		_, _ = client.Write([]byte{8, 0, 0, 0, 0, 0, 98, 0})
		_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := server.Read(make([]byte, 32)); err == nil {
			return true
		}
	}
	return false
}

// TestAPortOfABridgeSendsNoNodeATunnelsPackets is about one that may send what it likes, so that no address of it tells.
func TestAPortOfABridgeSendsNoNodeATunnelsPackets(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, host, 1)
	must(t, k.Join(anyone(p.Name, "stateless")))
	q, node := newPort(t, host, 2)
	must(t, k.Join(anyone(q.Name, "stateless")))
	g := Tunnel{ID: 98, Port: 4789, Devices: []string{"berth-vx4"}, Pools: prefixes("10.50.0.0/16", "10.51.0.0/16", "fd50::/16")}
	for _, a := range q.Addresses {
		g.Nodes = append(g.Nodes, a.Addr())
	}
	expect := func(what string, guarded bool) {
		t.Helper()
		for _, a := range g.Nodes {
			if !arrivesAt(t, inside, node, netip.AddrPortFrom(a, 4790), patience) {
				t.Errorf("%s: nothing arrives at another port of %v", what, a)
			}
			within := patience
			if guarded {
				within = silence
			}
			if arrivesAt(t, inside, node, netip.AddrPortFrom(a, 4789), within) == guarded {
				t.Errorf("%s: that %v takes packets of tunnels is %v", what, a, guarded)
			}
		}
	}
	expect("at first", false)
	must(t, k.GuardTunnel(g))
	expect("guarded", true)
	host.Do(func() error { c := &nftables.Conn{}; c.FlushRuleset(); return c.Flush() })
	must(t, k.EnsureTable())
	expect("put back", true)
	must(t, k.GuardTunnel(Tunnel{}))
	expect("no more", false)
	must(t, k.GuardTunnel(g))
	expect("again", true)
}

// TestARoutedPortSendsNoNodeATunnelsPackets is about one that may say that it is another node.
func TestARoutedPortSendsNoNodeATunnelsPackets(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(Member{Port: p.Name, Class: "stateless", Routed: true, Trusted: true}))
	node := newSpace(t)
	cable(t, host, "wan", node, "eth0")
	addresses, others := prefixes("192.0.2.2/24", "2001:db8::2/64"), prefixes("192.0.2.3/32", "2001:db8::3/128")
	host.Give("wan", "192.0.2.1/24", "2001:db8::1/64")
	host.Do(func() error {
		for _, of := range []string{"ipv4/conf/all/rp_filter", "ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"} {
			is := []byte("1")
			if of == "ipv4/conf/all/rp_filter" {
				is = []byte("0")
			}
			if err := os.WriteFile("/proc/sys/net/"+of, is, 0); err != nil {
				return err
			}
		}
		return nil
	})
	g := Tunnel{ID: 98, Port: 4789, Devices: []string{"berth-vx4"}}
	for i, a := range addresses {
		node.Give("eth0", a.String())
		inside.Give("eth0", others[i].String())
		g.Nodes = append(g.Nodes, a.Addr(), others[i].Addr())
		through := inside.LinkAt("eth0").Attrs().Index
		gateway := prefixes("10.43.1.1/24", "fd43:1::1/64")[i].Addr()
		inside.Do(func() error { return netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice(), LinkIndex: through}) })
	}
	must(t, k.GuardTunnel(g))
	for i, a := range addresses {
		for port, arrives := range map[uint16]bool{4790: true, 4789: false} {
			within := map[bool]time.Duration{true: patience, false: silence}[arrives]
			if arrivesBy(t, inside, others[i].Addr(), node, netip.AddrPortFrom(a.Addr(), port), within) != arrives {
				t.Errorf("that a packet to port %d of node %v arrives is %v", port, a, !arrives)
			}
		}
	}
}
