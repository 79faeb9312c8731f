package netops

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

// announcement is the Ethernet frame by which an address says where it is: an ARP announcement (RFC 5227, section
// 1.1) or an unsolicited neighbour advertisement (RFC 4861, section 4.4).
func announcement(a netip.Addr, mac net.HardwareAddr) []byte {
	if a.Is4() {
		return arpAnnouncement(a.As4(), mac)
	}
	return neighbourAdvertisement(a.As16(), mac)
}

func arpAnnouncement(a [4]byte, mac net.HardwareAddr) []byte {
	unknown := make([]byte, 6)
	return slices.Concat(
		[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{0x08, 0x06},
		[]byte{0, 1, 0x08, 0, 6, 4, 0, 1}, // Ethernet, IPv4, their lengths, a request
		mac, a[:], unknown, a[:])
}

func neighbourAdvertisement(a [16]byte, mac net.HardwareAddr) []byte {
	allNodes := netip.MustParseAddr("ff02::1").As16()
	const icmp, hops, override = 58, 255, 0x20
	message := slices.Concat(
		[]byte{136, 0, 0, 0, override, 0, 0, 0}, a[:],
		[]byte{2, 1}, mac) // option: target link-layer address
	pseudo := slices.Concat(a[:], allNodes[:], []byte{0, 0, 0, byte(len(message)), 0, 0, 0, icmp})
	binary.BigEndian.PutUint16(message[2:], checksum(slices.Concat(pseudo, message)))
	return slices.Concat(
		[]byte{0x33, 0x33, 0, 0, 0, 1}, mac, []byte{0x86, 0xdd},
		[]byte{0x60, 0, 0, 0, 0, byte(len(message)), icmp, hops}, a[:], allNodes[:],
		message)
}

// checksum is the Internet's (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
