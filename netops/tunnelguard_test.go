package netops

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// forged is what UDP carries of a packet of a tunnel to a node, as somebody writes it: with a datagram to one of the node's containers.
func forged(source, to netip.Addr, node netip.Addr, port uint16) []byte {
	const text = "forged"
	udp := binary.BigEndian.AppendUint16(nil, 9999)
	udp = binary.BigEndian.AppendUint16(udp, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(append(udp, 0, 0), text...)
	pseudo := slices.Concat(source.AsSlice(), to.AsSlice(), []byte{0, unix.IPPROTO_UDP, 0, byte(len(udp))}) // RFC 768, RFC 8200
	binary.BigEndian.PutUint16(udp[6:], checksum(append(pseudo, udp...)))

	kind, ip := uint16(unix.ETH_P_IP), []byte{0: 0x45, 3: byte(20 + len(udp)), 8: 64, 9: unix.IPPROTO_UDP, 11: 0}
	if source.Is6() {
		kind, ip = unix.ETH_P_IPV6, []byte{0: 0x60, 5: byte(len(udp)), 6: unix.IPPROTO_UDP, 7: 64}
	}
	ip = slices.Concat(ip, source.AsSlice(), to.AsSlice())
	if source.Is4() {
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	}
	mac := tunnelMAC(node)
	ethernet := binary.BigEndian.AppendUint16(slices.Concat(mac[:], []byte{'b', 'e', 1, 2, 3, 4}), kind)
	return slices.Concat([]byte{0x08, 0, 0, 0, 0, 0, byte(DefaultTunnel.ID), 0}, ethernet, ip, udp)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum>>16 + sum)
}

// injects reports whether somebody's packet of the tunnel, sent to an address, gets a datagram to the container of host 2 within the time,
// as from one of the sources, by the family of the address. Whatever that is, the packet is for the device of host 2.
func injects(t *testing.T, all []site, from space, at netip.Addr, within time.Duration, sources ...netip.Addr) bool {
	t.Helper()
	source, node, victim := ofFamily(at.Is4(), sources), ofFamily(at.Is4(), all[1].locals), all[1].addresses[0].Addr()
	if at.Is6() {
		victim = all[1].addresses[1].Addr()
	}
	var server *net.UDPConn
	all[1].inside.Do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(victim, 0)))
		return err
	})
	defer server.Close()
	port := uint16(server.LocalAddr().(*net.UDPAddr).Port)
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		from.Do(func() error {
			c, err := net.Dial("udp", netip.AddrPortFrom(at, DefaultTunnel.Port).String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(forged(source, victim, node, port))
			return err
		})
		_ = server.SetReadDeadline(time.Now().Add(silence / 5))
		if _, err := server.Read(make([]byte, 64)); err == nil {
			return true
		}
	}
	return false
}

// A loose host takes packets from where it would not answer: what else keeps them out is not seen before.
func TestNobodyButANodeSendsIntoATunnel(t *testing.T) {
	all := newSites(t, bothFamilies, bothFamilies, bothFamilies)
	for n, s := range all {
		want := through(all, n+1, Tunnel)
		want.Masquerade = pools // all that is no container's: also to nodes
		s.set(t, want)
	}
	node, node6 := all[1].locals[0], all[1].locals[1]
	strangers := []netip.Addr{all[2].addresses[0].Addr(), all[2].addresses[1].Addr()}
	other, other6 := netip.MustParseAddr("198.18.2.77"), netip.MustParseAddr("2001:db8:2::77")
	all[1].host.Give("eth0", "198.18.2.77/24", "2001:db8:2::77/64")
	at := netip.MustParseAddr("10.96.0.1")
	service(all[0].host, "services", "any", at, node)
	putRoute(all[0].inside, netlink.Route{Dst: ipNet(netip.PrefixFrom(at, 32)), Gw: RoutedGateway.AsSlice(),
		Flags: int(netlink.FLAG_ONLINK)}, "eth0")
	for _, a := range []netip.Addr{node, node6, other, other6, at} {
		if !injects(t, all, all[0].host, a, patience, strangers...) {
			t.Fatalf("what a node sends to %v does not arrive: the packet is not as it should be", a)
		}
	}
	for _, when := range []string{"strict hosts", "loose hosts"} {
		for what, from := range map[string]struct {
			space space
			to    []netip.Addr
		}{
			"a container of another node":                 {all[0].inside, []netip.Addr{node, node6}},
			"a container, to another address of the node": {all[0].inside, []netip.Addr{other, other6}},
			"a container, by a Service":                   {all[0].inside, []netip.Addr{at}},
			"a container of the node":                     {all[1].inside, []netip.Addr{node, node6, other, other6}},
			"a machine that is no node":                   {all[0].away, []netip.Addr{node, node6, other, other6}},
		} {
			for _, a := range from.to {
				if injects(t, all, from.space, a, silence, strangers...) {
					t.Errorf("%s: %s sends into the tunnel, to %v", when, what, a)
				}
			}
		}
		for _, s := range all {
			loose(t, s.host)
		}
	}
}

// A packet's inner frame says from which MAC it is. A device that learned it would send that MAC's packets to whoever made the packet.
func TestADeviceOfATunnelLearnsNothing(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies, bothFamilies)
	entries := func() (found []rtnl.Neighbour) {
		all[1].host.Do(func() error {
			s, err := rtnl.OpenSocket()
			if err != nil {
				return err
			}
			defer s.Close()
			for _, name := range tunnels {
				l, err := rtnl.LinkNamed(s, name)
				if err != nil {
					return err
				}
				held, err := rtnl.NeighboursOf(s, l.Index)
				if err != nil {
					return err
				}
				found = append(found, slices.DeleteFunc(held, func(n rtnl.Neighbour) bool { return !n.Forward })...)
			}
			return nil
		})
		return found
	}
	before := len(entries())
	for i, node := range all[1].locals {
		if !injects(t, all, all[0].host, node, patience, all[2].addresses[i].Addr()) {
			t.Fatalf("nothing arrives at %v", node)
		}
	}
	if now := entries(); len(now) != before || before != 4 {
		t.Errorf("there were %d forwarding entries, and are %v: want one of each device for each other node", before, now)
	}
}

func TestWhatComesOutOfATunnelIsNotFromThisHostsOwnContainers(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies, bothFamilies)
	loose(t, all[1].host)
	neighbour := netip.MustParseAddr("10.50.2.9")
	cable(t, all[1].host, Prefix+"9", newSpace(t), "eth0")
	putRoute(all[1].host, netlink.Route{Dst: ipNet(netip.PrefixFrom(neighbour, 32)), Priority: portMetric}, Prefix+"9")
	node := all[1].locals[0]
	if !injects(t, all, all[0].host, node, patience, netip.MustParseAddr("10.50.3.2")) {
		t.Fatal("what is from another node does not arrive")
	}
	for _, own := range []netip.Addr{neighbour, node} {
		if injects(t, all, all[0].host, node, silence, own) {
			t.Errorf("what is said to be from %v, which this host has itself, arrives through the tunnel", own)
		}
	}
}
