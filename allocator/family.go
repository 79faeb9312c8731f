package allocator

import "net/netip"

// A Family is an address family.
type Family int

// V4 and V6 are the two that there are.
const (
	V4 Family = iota
	V6
)

// FamilyOf is the family of a. An IPv4 address mapped into IPv6 counts as V6; no pool contains one.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return V4
	}
	return V6
}

func (f Family) String() string {
	if f == V4 {
		return "v4"
	}
	return "v6"
}
