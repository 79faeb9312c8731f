package netops

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/nettest"
)

// outer is what a frame between sites holds.
type outer struct {
	fragment bool
	inner    []byte // the frame in a packet of a tunnel; nil: it is none
}

func parseOuter(frame []byte) (o outer) {
	const ethernet, v4, v6, udp, vxlan = 14, 20, 40, 8, 8
	if len(frame) < ethernet+v6+udp+vxlan {
		return o
	}
	protocol, at := byte(0), ethernet
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		protocol, at = frame[ethernet+9], at+v4
		o.fragment = binary.BigEndian.Uint16(frame[ethernet+6:])&0x3fff != 0
	case unix.ETH_P_IPV6:
		protocol, at = frame[ethernet+6], at+v6
		o.fragment = protocol == unix.IPPROTO_FRAGMENT
	}
	if protocol == unix.IPPROTO_UDP && binary.BigEndian.Uint16(frame[at+2:]) == DefaultTunnel.Port {
		o.inner = frame[at+udp+vxlan:]
	}
	return o
}

// sendsWhole sends a datagram that fills a packet of the path MTU and must not be cut, until it arrives.
func sendsWhole(t *testing.T, from, to space, at netip.Addr, mtu int) {
	t.Helper()
	level, option, header := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, 28
	if at.Is6() {
		level, option, header = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, 48
	}
	var server, client *net.UDPConn
	to.Do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	defer server.Close()
	from.Do(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return err
		}
		raw, err := client.SyscallConn()
		must(t, err)
		return raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), level, option, unix.IP_PMTUDISC_DO)) })
	})
	defer client.Close()
	packet := make([]byte, mtu-header)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := client.Write(packet); err != nil {
			t.Errorf("a packet of %d bytes to %v: %v", mtu, at, err)
			return
		}
		_ = server.SetReadDeadline(time.Now().Add(silence))
		if n, err := server.Read(make([]byte, 1<<16)); err == nil && n == len(packet) {
			return
		}
	}
	t.Errorf("no packet of %d bytes arrives at %v", mtu, at)
}

func TestAPacketOfThePathMTUPassesATunnelInOnePiece(t *testing.T) {
	for name, has := range map[string]spoken{"IPv4": {v4: true}, "IPv6": {v6: true}, "both": bothFamilies} {
		t.Run(name, func(t *testing.T) {
			all := joined(t, Tunnel, has, has)
			wire := nettest.Tap(t, all[0].away, "site2")
			mtu, err := all[0].PathMTU(true)
			must(t, err)
			if want := map[bool]int{true: 1430, false: 1450}[has.v6]; mtu != want {
				t.Errorf("the path MTU is %d: want %d", mtu, want)
			}
			for _, s := range all {
				s.setMTU(mtu)
			}
			for _, a := range all[1].addresses {
				sendsWhole(t, all[0].inside, all[1].inside, a.Addr(), mtu)
			}
			for _, f := range wire.Frames() {
				if parseOuter(f).fragment {
					t.Fatalf("a fragment passes between the hosts: %x", f)
				}
			}
		})
	}
}

func TestTheMTUOfATunnelFollowsTheUplinks(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	s, want := all[0], through(all, 1, Tunnel)
	settled(t, s, want)
	for _, mtu := range [...]int{1400, 1500} {
		eth0 := s.host.LinkAt("eth0")
		s.host.Do(func() error { return netlink.LinkSetMTU(eth0, mtu) })
		next(t, s.Kernel, HostChanged)
		settled(t, s, want)
		for device, is := range map[string]int{"berth-vx4": mtu - 50, "berth-vx6": mtu - 70} {
			if got := s.host.LinkAt(device).Attrs().MTU; got != is {
				t.Errorf("the uplink has MTU %d, %s %d: want %d", mtu, device, got, is)
			}
		}
		for tunnelled, is := range map[bool]int{false: mtu, true: mtu - 70} {
			if got, err := s.PathMTU(tunnelled); err != nil || got != is {
				t.Errorf("the path MTU is %d, %v: want %d", got, err, is)
			}
		}
	}
}

// TestNothingIsAskedOrFloodedThroughATunnel sends into a device what no node has, and what is for all.
func TestNothingIsAskedOrFloodedThroughATunnel(t *testing.T) {
	all := joined(t, Tunnel, bothFamilies, bothFamilies)
	wire := nettest.Tap(t, all[0].away, "site1")
	host := all[0].host
	for device, unknown := range map[string][]string{
		"berth-vx4": {"10.60.0.9", "fd60::9", "255.255.255.255"}, "berth-vx6": {"10.61.0.9", "fd61::9"},
	} {
		for _, a := range unknown {
			to := netip.MustParseAddr(a)
			putRoute(host, netlink.Route{Dst: ipNet(netip.PrefixFrom(to, to.BitLen()))}, device)
			host.Do(func() error {
				c, err := net.ListenUDP("udp", nil)
				if err != nil {
					return err
				}
				defer c.Close()
				_, _ = c.WriteToUDP([]byte("who has it?"), &net.UDPAddr{IP: to.AsSlice(), Port: 9})
				_, _ = c.WriteToUDP([]byte("all"), &net.UDPAddr{IP: net.ParseIP("ff02::1"), Zone: device, Port: 9})
				return nil
			})
		}
	}
	meet(t, all)
	packets := 0
	for _, f := range wire.Frames() {
		o := parseOuter(f)
		if len(o.inner) < 14 {
			continue
		}
		packets++
		known := false
		for _, s := range all {
			for _, a := range s.locals {
				mac := tunnelMAC(a)
				known = known || bytes.Equal(o.inner[:6], mac[:])
			}
		}
		kind := binary.BigEndian.Uint16(o.inner[12:])
		v6 := kind == unix.ETH_P_IPV6 && o.inner[14+6] == unix.IPPROTO_ICMPV6
		if discovers := v6 && o.inner[14+40] >= 133 && o.inner[14+40] <= 137; !known || kind == unix.ETH_P_ARP || discovers {
			t.Errorf("a frame for all, or a question, passes: %x", o.inner)
		}
	}
	if packets == 0 {
		t.Error("no packet of a tunnel was seen")
	}
}
