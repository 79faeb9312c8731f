package l2

import (
	"net"
	"net/netip"
	"slices"
)

// sizeofARP is the size of an ARP packet for Ethernet and IPv4 (RFC 826).
const sizeofARP = 28

// arpHeader says Ethernet, IPv4, and their addresses' lengths.
var arpHeader = []byte{0, 1, 0x08, 0, 6, 4}

// arpAnnouncement is an ARP request by which an address says where it is (RFC 5227, section 1.1).
func arpAnnouncement(a [4]byte, mac net.HardwareAddr) []byte { return arpRequest(mac, a, a) }

// arpProbe is an ARP request that asks who has an address and claims none (RFC 5227, section 2.1.1).
func arpProbe(a [4]byte, mac net.HardwareAddr) []byte { return arpRequest(mac, [4]byte{}, a) }

func arpRequest(mac net.HardwareAddr, sender, target [4]byte) []byte {
	unknown := make([]byte, 6)
	return slices.Concat(
		[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{0x08, 0x06},
		arpHeader, []byte{0, 1}, mac, sender[:], unknown, target[:])
}

// arpSender is the sender of an ARP packet.
func arpSender(packet []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if !slices.Equal(packet[:len(arpHeader)], arpHeader) {
		return a, nil, false
	}
	return netip.AddrFrom4([4]byte(packet[14:18])), slices.Clone(packet[8:14]), true
}
