package reservation_test

import (
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/lab"
)

// both has two families.
func both() allocator.Pool {
	return allocator.Pool{
		Name: "both", CIDRs: []netip.Prefix{lab.Prefix("10.2.0.0/24"), lab.Prefix("fd00::/112")},
		Stateful: []netip.Prefix{lab.Prefix("10.2.0.0/26"), lab.Prefix("fd00::/122")},
	}.WithDefaults()
}
