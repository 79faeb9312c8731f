package echo

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The lengths of headers, and of what marks a message as ours, in bytes.
const (
	header4 = 20
	header6 = 40
	headerI = 8 // ICMP's
	marking = 4
)

// Types of messages: RFC 792, RFC 4443.
const (
	echo4, reply4, unreachable4           = 8, 0, 3
	echo6, reply6, unreachable6, tooBig6  = 128, 129, 1, 2
	codeFragmentationNeeded               = 4 // of unreachable4
	offsetType, offsetMTU4, offsetPayload = 0, 6, 8
)

// message makes a request that is a packet of a size. The kernel fills in the checksum of the later family's.
func message(to netip.Addr, mark uint32, sequence uint16, size int) []byte {
	header, kind := header6, byte(echo6)
	if to.Is4() {
		header, kind = header4, echo4
	}
	m := make([]byte, max(size-header, headerI+marking))
	m[offsetType] = kind
	binary.BigEndian.PutUint16(m[4:], uint16(mark))
	binary.BigEndian.PutUint16(m[6:], sequence)
	binary.BigEndian.PutUint32(m[offsetPayload:], mark)
	if to.Is4() {
		binary.BigEndian.PutUint16(m[2:], checksum(m))
	}
	return m
}

// read finds out whether a message is about our request: then the answer is nil for an echo, or an error.
func (a *asking) read(m []byte, from unix.Sockaddr) (answer error, ours bool) {
	if a.To.Is4() {
		return a.read4(m)
	}
	sender := netip.Addr{}
	if in6, ok := from.(*unix.SockaddrInet6); ok {
		sender = netip.AddrFrom16(in6.Addr)
	}
	if len(m) < headerI+marking {
		return nil, false
	}
	switch m[offsetType] {
	case reply6:
		return nil, a.marked(m)
	case unreachable6, tooBig6:
		inner := m[headerI:]
		if len(inner) < header6 || [16]byte(inner[24:40]) != a.To.As16() || inner[6] != unix.IPPROTO_ICMPV6 || !a.marked(inner[header6:]) {
			return nil, false
		}
		if m[offsetType] == tooBig6 {
			return &TooBigError{sender, int(binary.BigEndian.Uint32(m[4:]))}, true
		}
		return &RefusedError{sender, worded(reasons6, m[1])}, true
	}
	return nil, false
}

// read4 is read for a packet with its IP header, which a raw socket of this family gives too (raw(7)).
func (a *asking) read4(packet []byte) (answer error, ours bool) {
	sender, m := cut4(packet)
	if len(m) < headerI+marking {
		return nil, false
	}
	switch m[offsetType] {
	case reply4:
		return nil, a.marked(m)
	case unreachable4:
		packet := m[headerI:]
		if _, inner := cut4(packet); !a.marked(inner) || [4]byte(packet[16:20]) != a.To.As4() {
			return nil, false
		}
		if m[1] == codeFragmentationNeeded {
			return &TooBigError{sender, int(binary.BigEndian.Uint16(m[offsetMTU4:]))}, true
		}
		return &RefusedError{sender, worded(reasons4, m[1])}, true
	}
	return nil, false
}

// cut4 takes an IPv4 header off.
func cut4(packet []byte) (sender netip.Addr, rest []byte) {
	if len(packet) < header4 {
		return sender, nil
	}
	length := int(packet[0]&0x0f) * 4
	if length < header4 || len(packet) < length {
		return sender, nil
	}
	return netip.AddrFrom4([4]byte(packet[12:16])), packet[length:]
}

// marked reports whether a message, or the beginning of ours in somebody's error, has our mark.
func (a *asking) marked(m []byte) bool {
	return len(m) >= headerI && binary.BigEndian.Uint16(m[4:]) == uint16(a.mark) &&
		(len(m) < headerI+marking || binary.BigEndian.Uint32(m[offsetPayload:]) == a.mark)
}

var reasons4 = map[byte]string{0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
	9: "prohibited (network)", 10: "prohibited (host)", 13: "prohibited by a filter"}

var reasons6 = map[byte]string{0: "no route", 1: "prohibited by a filter", 2: "beyond the scope of the source", 3: "address unreachable",
	4: "port unreachable", 5: "prohibited (source address)", 6: "route is one that rejects"}

func worded(reasons map[byte]string, code byte) string {
	if words, ok := reasons[code]; ok {
		return words
	}
	return fmt.Sprintf("unreachable (code %d)", code)
}

// checksum is the Internet checksum (RFC 1071).
func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	if len(data)%2 == 1 {
		sum += uint32(data[len(data)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
