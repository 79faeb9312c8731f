package allocator

import (
	"net/netip"
	"slices"
)

// linkLocalV6 are the addresses that each IPv6 interface has, besides others (RFC 4291, section 2.5.6).
var linkLocalV6 = netip.MustParsePrefix("fe80::/10")

// Apart are the addresses that containers of isolated pools may have, in order: those of these pools, but the machines' own, and where
// there is such a pool IPv6's link-local ones, but those of gateways.
func Apart(pools map[string]Pool, machines []netip.Prefix) (all []Range) {
	var gateways []Range
	isolates := false
	for _, p := range pools {
		for _, g := range p.Gateways {
			gateways = append(gateways, Range{g, g})
		}
		if !p.Isolate {
			continue
		}
		isolates = true
		for _, f := range p.Families() {
			cuts := p.unusable(f)
			for _, m := range machines {
				cuts = append(cuts, rangeOf(m))
			}
			all = append(all, p.whole(f, cuts)...)
		}
	}
	if isolates {
		all = append(all, without(rangeOf(linkLocalV6), gateways)...)
	}
	slices.SortFunc(all, func(a, b Range) int { return a.From.Compare(b.From) })
	return all
}
