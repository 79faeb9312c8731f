package netops

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// question is the Ethernet frame that asks who has an address, without claiming it: an ARP probe (RFC 5227, section
// 2.1.1), or a neighbour solicitation as for duplicate address detection (RFC 4862, section 5.4.2).
func question(a netip.Addr, mac net.HardwareAddr) []byte {
	if a.Is4() {
		return arpProbe(a.As4(), mac)
	}
	return neighbourSolicitation(a.As16(), mac)
}

func arpProbe(a [4]byte, mac net.HardwareAddr) []byte {
	unknown := make([]byte, 6)
	return slices.Concat(
		[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{0x08, 0x06},
		[]byte{0, 1, 0x08, 0, 6, 4, 0, 1}, // Ethernet, IPv4, their lengths, a request
		mac, []byte{0, 0, 0, 0}, unknown, a[:])
}

func neighbourSolicitation(a [16]byte, mac net.HardwareAddr) []byte {
	const icmp, hops = 58, 255
	var unspecified [16]byte
	group := netip.MustParseAddr("ff02::1:ff00:0").As16() // of those whose address ends like this one
	copy(group[13:], a[13:])
	message := slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, a[:])
	pseudo := slices.Concat(unspecified[:], group[:], []byte{0, 0, 0, byte(len(message)), 0, 0, 0, icmp})
	binary.BigEndian.PutUint16(message[2:], checksum(slices.Concat(pseudo, message)))
	return slices.Concat(
		[]byte{0x33, 0x33}, group[12:], mac, []byte{0x86, 0xdd},
		[]byte{0x60, 0, 0, 0, 0, byte(len(message)), icmp, hops}, unspecified[:], group[:],
		message)
}

// answers is a filter (classic BPF) that takes ARP and neighbour advertisements, by their places in the frame.
var answers = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jt: 5},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IPV6, Jf: 5},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 14 + 6}, // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_ICMPV6, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 14 + 40},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 136, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// answer reads from a frame who has which address: the sender of any ARP, or the target of a neighbour advertisement.
func answer(frame []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	const ethernet, arp, advertisement = 14, 28, 40 + 24
	if len(frame) < ethernet+arp {
		return a, nil, false
	}
	body := frame[ethernet:]
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == unix.ETH_P_ARP && slices.Equal(body[:6], []byte{0, 1, 0x08, 0, 6, 4}):
		return netip.AddrFrom4([4]byte(body[14:18])), slices.Clone(body[8:14]), true
	case kind == unix.ETH_P_IPV6 && len(body) >= advertisement && body[6] == unix.IPPROTO_ICMPV6 && body[40] == 136:
		mac = slices.Clone(frame[6:12])
		if option := body[advertisement:]; len(option) >= 8 && option[0] == 2 { // target link-layer address
			mac = slices.Clone(option[2:8])
		}
		return netip.AddrFrom16([16]byte(body[48:64])), mac, true
	}
	return a, nil, false
}
