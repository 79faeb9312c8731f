package watch

import (
	"encoding/binary"
	"net/netip"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

const (
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	solicitation  = 135 // RFC 4861
	advertisement = 136
)

// slots is how many rounds of requests an answer can be told apart from: each has a sender of its own.
const slots = 16

// sender is the MAC that the requests of a round come from, and their answers go to.
func sender(slot int) check.MAC { return check.MAC{0x02, 0xbe, 0x57, 0, 0, byte(slot)} }

// slotOf is the inverse of sender.
func slotOf(mac []byte) (slot int, ok bool) {
	m := check.MAC(mac)
	slot = int(m[5])
	return slot, slot < slots && m == sender(slot)
}

// request asks who has an address: one machine, or everybody if to is zero.
func request(address netip.Addr, slot int, to check.MAC) (frame []byte) {
	if address.Is4() {
		frame = arpRequest(address, sender(slot))
	} else {
		frame = solicit(address, sender(slot), slot)
	}
	if to != (check.MAC{}) {
		copy(frame, to[:])
	}
	return frame
}

// arpRequest is an ARP probe (RFC 826, RFC 5227): it has no sender address, so nobody learns one.
func arpRequest(address netip.Addr, from check.MAC) []byte {
	frame := ethernet(check.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, from, typeARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(frame, from[:]...)
	frame = append(frame, make([]byte, 4+6)...)
	return append(frame, address.AsSlice()...)
}

// solicit is a neighbour solicitation (RFC 4861, 4.3) from a link-local address of the slot's.
func solicit(address netip.Addr, from check.MAC, slot int) []byte {
	target := address.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], target[13:])
	source := netip.MustParseAddr("fe80::be57:0").As16()
	source[15] = byte(slot + 1)

	body := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, target[:]...)
	body = append(append(body, 1, 1), from[:]...) // source link-layer address
	binary.BigEndian.PutUint16(body[2:], checksum(source, group, body))

	frame := ethernet(check.MAC{0x33, 0x33, group[12], group[13], group[14], group[15]}, from, typeIPv6)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(body)), 58, 255)
	frame = append(append(frame, source[:]...), group[:]...)
	return append(frame, body...)
}

func ethernet(to, from check.MAC, kind uint16) []byte {
	frame := make([]byte, 0, 96)
	frame = append(append(frame, to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(frame, kind)
}

// checksum is that of ICMPv6 (RFC 4443, 2.3).
func checksum(source, destination [16]byte, body []byte) uint16 {
	return fold(append(append(source[:], destination[:]...), 0, 0, 0, byte(len(body)), 0, 0, 0, 58), body)
}

// fold is the Internet checksum (RFC 1071) of parts that are of even length each.
func fold(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// answered reads an answer to a request of ours: whose address, by whom, to which round.
func answered(frame []byte) (address netip.Addr, by check.MAC, slot int, ok bool) {
	if len(frame) < 14 {
		return address, by, 0, false
	}
	if slot, ok = slotOf(frame[:6]); !ok {
		return address, by, 0, false
	}
	body := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		if len(body) < 28 || body[7] != 2 {
			return address, by, 0, false
		}
		address, _ = netip.AddrFromSlice(body[14:18])
		return address, check.MAC(body[8:14]), slot, true
	case typeIPv6:
		if len(body) < 64 || body[6] != 58 || body[40] != advertisement {
			return address, by, 0, false
		}
		address, _ = netip.AddrFromSlice(body[48:64])
		return address, check.MAC(frame[6:12]), slot, true
	}
	return address, by, 0, false
}
