package allocator

import (
	"fmt"
	"net/netip"
	"slices"
)

// ValidateChange reports what of a pool would change that never may: its CIDRs and block sizes. Both pools are valid.
func ValidateChange(old, new Pool) error {
	for _, f := range [...]Family{V4, V6} {
		was, is := old.CIDRsOf(f), new.CIDRsOf(f)
		if !slices.Equal(was, is) {
			return fmt.Errorf("pool %q: its %s CIDR cannot change from %s to %s: make another pool", old.Name, f, orNone(was), orNone(is))
		}
		if len(was) > 0 && old.blockBits(f) != new.blockBits(f) {
			return fmt.Errorf("pool %q: blockSize %s cannot change from %d to %d: make another pool",
				old.Name, f, old.blockBits(f), new.blockBits(f))
		}
	}
	return nil
}

func orNone(cidrs []netip.Prefix) string {
	if len(cidrs) == 0 {
		return "none"
	}
	return words(cidrs, " and ")
}

// Overlap reports two pools that have an address in common.
func Overlap(pools ...Pool) error {
	type claim struct {
		pool string
		cidr netip.Prefix
	}
	var claims []claim
	for _, p := range pools {
		for _, c := range p.CIDRs {
			claims = append(claims, claim{p.Name, c})
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return a.cidr.Addr().Compare(b.cidr.Addr()) })
	// Two CIDRs overlap only if one holds the other: then the one that begins first is followed by one it overlaps.
	for i := 1; i < len(claims); i++ {
		a, b := claims[i-1], claims[i]
		if a.cidr.Overlaps(b.cidr) {
			return fmt.Errorf("pool %q with %s and pool %q with %s overlap: want CIDRs with no address in common",
				a.pool, a.cidr, b.pool, b.cidr)
		}
	}
	return nil
}
