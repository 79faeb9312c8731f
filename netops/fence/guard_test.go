package fence

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
)

// arrivesAt reports whether a datagram arrives at a port of an address; what is not to arrive is awaited for a short time.
func arrivesAt(t *testing.T, from, to space, at netip.AddrPort, within time.Duration) bool {
	t.Helper()
	var server, client *net.UDPConn
	to.Do(func() (err error) { server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); return err })
	defer server.Close()
	from.Do(func() (err error) { client, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at)); return err })
	defer client.Close()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		_, _ = client.Write([]byte("no header of a tunnel"))
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
