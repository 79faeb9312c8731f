package fence

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// What crosses an uplink is told by its addresses: what is apart are here 10.42.9.0/24 and fd42::9:0/112, which other nodes' containers
// have, and link-local addresses, but fe80::1. The machine behind the uplink is 10.42.8.8 and fd42::8:8.
func TestNothingCrossesAnUplinkBetweenIsolatedContainers(t *testing.T) {
	for name, bridged := range map[string]bool{"the bridge's rules alone judge": false, "IP's do, too": true} {
		t.Run(name, func(t *testing.T) {
			k, host := newBridge(t)
			passBridged(t, host, bridged)
			crossUplink(t, k, host)
		})
	}
}

func crossUplink(t *testing.T, k *Table, host space) {
	p, inside := newContainer(t, k, host, 1)
	must(t, k.Join(p.isolatedIn("stateless")))
	beyond := newNeighbour(t, host, "10.42.8.8/16", "fd42::8:8/64")
	must(t, k.Separate(ranges("10.42.9.0", "10.42.9.255", "10.42.0.2", "10.42.0.2", "fd42::2", "fd42::2", "fd42::9:0", "fd42::9:ffff",
		"fe80::", "fe80::", "fe80::2", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
	own, other := p.MAC, beyond.LinkAt("eth0").Attrs().HardwareAddr
	from, to := packets(t, inside, "eth0"), packets(t, beyond, "eth0")
	for i, f := range leavingFrames(own, other) {
		if got := to.hearsBefore(from, f.frame, arpFrame(own, own, 1, "10.42.0.2", fmt.Sprintf("10.42.200.%d", i))); got != f.may {
			t.Errorf("%s leaves: %t, want %t", f.what, got, f.may)
		}
	}
	for i, f := range arrivingFrames(own, other) {
		if got := from.hearsBefore(to, f.frame, arpFrame(other, other, 1, "10.42.8.8", fmt.Sprintf("10.42.200.%d", i))); got != f.may {
			t.Errorf("%s arrives: %t, want %t", f.what, got, f.may)
		}
	}
}

var (
	udp  = []byte{0, 9, 0, 9, 0, 8, 0, 0}
	echo = []byte{128, 0, 0, 0, 0, 0, 0, 0}
)

// leavingFrames are those of the isolated container 10.42.0.2 and fd42::2, to the uplink.
func leavingFrames(own, to net.HardwareAddr) []sentFrame {
	local := linkLocal(own).String()
	nd := func(source, destination string, kind byte, target string) []byte {
		return v6Frame(everybody, own, source, destination, unix.IPPROTO_ICMPV6, ndMessage(kind, target, own))
	}
	v6 := func(source, destination string, protocol byte, body []byte) []byte {
		return v6Frame(to, own, source, destination, protocol, body)
	}
	return []sentFrame{
		{"IPv4", v4FrameTo(to, own, "10.42.0.2", "10.42.8.8"), true},
		{"IPv4 to all", v4FrameTo(everybody, own, "10.42.0.2", "224.0.0.251"), true},
		{"IPv4 to an isolated container", v4FrameTo(to, own, "10.42.0.2", "10.42.9.9"), false},
		{"ARP", arpFrame(own, own, 1, "10.42.0.2", "10.42.8.8"), true},
		{"an ARP answer", arpFrame(own, own, 2, "10.42.0.2", "10.42.8.8"), true},
		{"an announcement", arpFrame(own, own, 1, "10.42.0.2", "10.42.0.2"), true},
		{"a probe", arpFrame(own, own, 1, "0.0.0.0", "10.42.0.2"), true},
		{"ARP for an isolated container", arpFrame(own, own, 1, "10.42.0.2", "10.42.9.9"), false},

		{"IPv6", v6("fd42::2", "fd42::8:8", unix.IPPROTO_UDP, udp), true},
		{"IPv6 to all", v6("fd42::2", "ff02::fb", unix.IPPROTO_UDP, udp), true},
		{"IPv6 to an isolated container", v6("fd42::2", "fd42::9:9", unix.IPPROTO_UDP, udp), false},
		{"an echo to an isolated container", v6("fd42::2", "fd42::9:9", unix.IPPROTO_ICMPV6, echo), false},
		{"IPv6 to a link-local address", v6("fd42::2", "fe80::9", unix.IPPROTO_UDP, udp), false},
		{"IPv6 from and to a link-local address", v6(local, "fe80::9", unix.IPPROTO_UDP, udp), false},
		{"an echo to a link-local address", v6(local, "fe80::9", unix.IPPROTO_ICMPV6, echo), false},
		{"an echo's answer to a link-local address", v6(local, "fe80::9", unix.IPPROTO_ICMPV6, []byte{129, 0, 0, 0, 0, 0, 0, 0}), false},
		{"IPv6 to the gateway's link-local address", v6(local, "fe80::1", unix.IPPROTO_UDP, udp), true},
		{"an echo to the gateway's link-local address", v6(local, "fe80::1", unix.IPPROTO_ICMPV6, echo), true},

		{"a solicitation", nd("fd42::2", "ff02::1", solicitation, "fd42::8:8"), true},
		{"a solicitation of a router", nd(local, "ff02::1", solicitation, "fe80::9"), true},
		{"a probe for its own address", nd("::", "ff02::1", solicitation, "fd42::2"), true},
		{"a probe for its link-local address", nd("::", "ff02::1", solicitation, local), true},
		{"a solicitation of an isolated container", nd("fd42::2", "ff02::1", solicitation, "fd42::9:9"), false},
		{"the same from a link-local address", nd(local, "ff02::1", solicitation, "fd42::9:9"), false},
		{"an advertisement to all", nd("fd42::2", "ff02::1", advertisement, "fd42::2"), true},
		{"an advertisement to an isolated container", nd("fd42::2", "fd42::9:9", advertisement, "fd42::2"), false},
		{"an advertisement to a router", nd("fd42::2", "fe80::9", advertisement, "fd42::2"), true},

		{"another protocol", ethernetFrame(everybody, own, 0x88b5, []byte("hello")), false},
	}
}

// arrivingFrames come from the uplink to the same container.
func arrivingFrames(own, from net.HardwareAddr) []sentFrame {
	nd := func(source string, kind byte, target string) []byte {
		return v6Frame(everybody, from, source, "ff02::1", unix.IPPROTO_ICMPV6, ndMessage(kind, target, from))
	}
	v6 := func(source, destination string, protocol byte, body []byte) []byte {
		return v6Frame(own, from, source, destination, protocol, body)
	}
	local := linkLocal(own).String()
	return []sentFrame{
		{"IPv4", v4FrameTo(own, from, "10.42.8.8", "10.42.0.2"), true},
		{"IPv4 from an isolated container", v4FrameTo(own, from, "10.42.9.9", "10.42.0.2"), false},
		{"the same to all", v4FrameTo(everybody, from, "10.42.9.9", "224.0.0.251"), false},
		{"ARP", arpFrame(from, from, 1, "10.42.8.8", "10.42.0.2"), true},
		{"ARP from an isolated container", arpFrame(from, from, 1, "10.42.9.9", "10.42.0.2"), false},
		{"an isolated container's announcement", arpFrame(from, from, 2, "10.42.9.9", "10.42.9.9"), false},

		{"IPv6", v6("fd42::8:8", "fd42::2", unix.IPPROTO_UDP, udp), true},
		{"IPv6 from an isolated container", v6("fd42::9:9", "fd42::2", unix.IPPROTO_UDP, udp), false},
		{"IPv6 from a link-local address", v6("fe80::9", local, unix.IPPROTO_UDP, udp), false},
		{"an echo from a link-local address", v6("fe80::9", local, unix.IPPROTO_ICMPV6, echo), false},
		{"IPv6 from the gateway's link-local address", v6("fe80::1", local, unix.IPPROTO_UDP, udp), true},
		{"a solicitation", nd("fd42::8:8", solicitation, "fd42::2"), true},
		{"a router's solicitation", nd("fe80::9", solicitation, "fd42::2"), true},
		{"a router's solicitation to it alone", v6("fe80::9", "fd42::2", unix.IPPROTO_ICMPV6, ndMessage(solicitation, "fd42::2", from)), true},
		{"a router's advertisement", nd("fe80::9", routeAdvertised, "fd42::2"), true},
		{"a solicitation from an isolated container", nd("fd42::9:9", solicitation, "fd42::2"), false},
		{"an advertisement from an isolated container", nd("fd42::9:9", advertisement, "fd42::9:9"), false},

		{"another protocol", ethernetFrame(everybody, from, 0x88b5, []byte("hello")), false},
	}
}
