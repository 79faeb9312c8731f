package rtnl

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// The library finds the byte order out at its first use, and keeps it in a variable that it does not guard. Here that is
// before anything can run beside it.
var _ = nl.NativeEndian()

// Attributes walks over a message's attributes (struct rtattr, netlink(7)), and ends at the first that is malformed.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			length, kind := int(native.Uint16(b)), native.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
			if length < unix.SizeofRtAttr || length > len(b) {
				return
			}
			if !yield(kind, b[unix.SizeofRtAttr:length]) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}

// Text reads a string that may end with a zero.
func Text(b []byte) string { return unix.ByteSliceToString(b) }

func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(int32(native.Uint32(b)))
}

func numberAttr(kind uint16, value int) *nl.RtAttr {
	return nl.NewRtAttr(int(kind), native.AppendUint32(nil, uint32(value)))
}

func textAttr(kind uint16, value string) *nl.RtAttr {
	return nl.NewRtAttr(int(kind), nl.ZeroTerminated(value))
}

func addressAttr(kind uint16, a netip.Addr) *nl.RtAttr {
	return nl.NewRtAttr(int(kind), a.AsSlice())
}

// nested is an attribute that holds others.
func nested(kind uint16, children ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(int(kind), nil)
	for _, child := range children {
		a.AddChild(child)
	}
	return a
}

// familyOf is the kernel's word for an address's family.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
