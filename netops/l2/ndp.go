package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Neighbour discovery's ICMPv6 types, and the hop limit by which who reads a message knows that no router forwarded it (RFC 4861).
const (
	typeSolicitation  = 135
	typeAdvertisement = 136
	hopLimit          = 255

	sizeofIPv6          = 40
	sizeofAdvertisement = 24
	targetLinkAddress   = 2 // option: target link-layer address
)

// neighbourAdvertisement is an unsolicited advertisement by which an address says where it is (RFC 4861, section 4.4).
func neighbourAdvertisement(a [16]byte, mac net.HardwareAddr) []byte {
	allNodes := netip.MustParseAddr("ff02::1").As16()
	const override = 0x20
	return icmp([]byte{0x33, 0x33, 0, 0, 0, 1}, mac, a, allNodes, slices.Concat(
		[]byte{typeAdvertisement, 0, 0, 0, override, 0, 0, 0}, a[:],
		[]byte{targetLinkAddress, 1}, mac))
}

// neighbourSolicitation asks who has an address as duplicate address detection does (RFC 4862, section 5.4.2).
func neighbourSolicitation(a [16]byte, mac net.HardwareAddr) []byte {
	var unspecified [16]byte
	group := netip.MustParseAddr("ff02::1:ff00:0").As16() // of those whose address ends like this one
	copy(group[13:], a[13:])
	return icmp(slices.Concat([]byte{0x33, 0x33}, group[12:]), mac, unspecified, group,
		slices.Concat([]byte{typeSolicitation, 0, 0, 0, 0, 0, 0, 0}, a[:]))
}

// icmp is the frame of an ICMPv6 message, whose checksum it fills in.
func icmp(to, from net.HardwareAddr, source, destination [16]byte, message []byte) []byte {
	pseudo := slices.Concat(source[:], destination[:], []byte{0, 0, 0, byte(len(message)), 0, 0, 0, unix.IPPROTO_ICMPV6})
	binary.BigEndian.PutUint16(message[2:], checksum(slices.Concat(pseudo, message)))
	return slices.Concat(to, from, []byte{0x86, 0xdd},
		[]byte{0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, hopLimit}, source[:], destination[:], message)
}

// advertised is the target of a neighbour advertisement, at the MAC that an option names, or else at the sender's.
func advertised(packet []byte, sender net.HardwareAddr) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	const least = sizeofIPv6 + sizeofAdvertisement
	if len(packet) < least || packet[6] != unix.IPPROTO_ICMPV6 || packet[sizeofIPv6] != typeAdvertisement {
		return a, nil, false
	}
	mac = slices.Clone(sender)
	if option := packet[least:]; len(option) >= 8 && option[0] == targetLinkAddress {
		mac = slices.Clone(option[2:8])
	}
	return netip.AddrFrom16([16]byte(packet[sizeofIPv6+8 : least])), mac, true
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
