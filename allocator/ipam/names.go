package ipam

import (
	"fmt"
	"net/netip"
)

// An Address is one of a pool's.
type Address struct {
	Pool string
	Addr netip.Addr
}

// String is for people.
func (a Address) String() string { return fmt.Sprintf("%v of pool %s", a.Addr, a.Pool) }

// A BlockID tells a block from all others: its pool, and where it lies there.
type BlockID struct {
	Pool   string
	Prefix netip.Prefix
}

// String is for people.
func (b BlockID) String() string { return fmt.Sprintf("%v of pool %s", b.Prefix, b.Pool) }
