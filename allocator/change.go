package allocator

import (
	"fmt"
	"net/netip"
	"slices"
)

// ValidateChange reports what of a pool would change that never may: a CIDR becomes another one that does not contain it, or a block
// size. Whether a CIDR that goes is in use is not decided here. Both pools are valid.
func ValidateChange(old, new Pool) error {
	for _, was := range old.CIDRs {
		for _, is := range new.CIDRs {
			if is.Overlaps(was) && is.Bits() > was.Bits() {
				return fmt.Errorf("pool %q: its CIDR %s cannot become %s, which is a part of it: a CIDR only grows; keep it, or drain and remove "+
					"it, and then add the smaller one", old.Name, was, is)
			}
		}
	}
	for _, f := range old.Families() {
		if new.Has(f) && old.blockBits(f) != new.blockBits(f) {
			return fmt.Errorf("pool %q: blockSize %s cannot change from %d to %d: make another pool",
				old.Name, f, old.blockBits(f), new.blockBits(f))
		}
	}
	return nil
}

// Gone are the CIDRs of old that new neither has nor has within a larger one.
func Gone(old, new *Pool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(old.CIDRs), func(c netip.Prefix) bool { return new.Contains(c.Addr()) })
}

// FormerEnds are the addresses that were ends of CIDRs of old, and that new would give to containers, since it has those within larger
// ones: who has the former prefix length takes them for the network's own. Routed pools have none.
func FormerEnds(old, new *Pool) (ends []netip.Addr) {
	for _, c := range old.CIDRs {
		if is := new.CIDROf(c.Addr()); old.Layer3() || new.Layer3() || !is.IsValid() || is == c {
			continue
		}
		for _, end := range [...]netip.Addr{c.Addr(), last(c)} {
			if !old.end(end) || new.end(end) {
				continue
			}
			ends = append(ends, end)
		}
	}
	return ends
}

// end reports whether a is an address of a CIDR itself in a flat pool.
func (p *Pool) end(a netip.Addr) bool {
	c := p.CIDROf(a)
	return c.IsValid() && (a == c.Addr() || a.Is4() && a == last(c))
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
