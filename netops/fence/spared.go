package fence

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// spared are the CIDRs where what masquerades keeps its address: the cluster's, and the pools' that masquerade.
func spared(rules map[netip.Prefix]*nftables.Rule, cluster []netip.Prefix) (all []Range) {
	prefixes := slices.AppendSeq(slices.Clone(cluster), maps.Keys(rules))
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	for _, p := range prefixes {
		all = append(all, Range{p.Addr(), last(p)})
	}
	return all
}

// elementsFor are the elements of an interval set that has these ranges of one family, sorted by where they begin: for each interval
// its first address, and the first one behind it where there is one. Intervals that touch or overlap are one.
func elementsFor(ranges []Range) (all []nftables.SetElement) {
	var behind netip.Addr // the last interval; not valid: there is none, or it reaches the end
	for i, r := range ranges {
		after := r.To.Next()
		switch {
		case i > 0 && (!behind.IsValid() || after.IsValid() && !behind.Less(after)):
			continue // what came before contains it
		case i > 0 && !behind.Less(r.From):
			all = all[:len(all)-1]
		default:
			all = append(all, nftables.SetElement{Key: r.From.AsSlice()})
		}
		if behind = after; behind.IsValid() {
			all = append(all, nftables.SetElement{Key: behind.AsSlice(), IntervalEnd: true})
		}
	}
	return all
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(bytes) // its length is an address's
	return a
}

// sameElements reports whether a set has these elements.
func sameElements(held, want []nftables.SetElement) bool {
	same := func(a, b nftables.SetElement) bool {
		return bytes.Equal(a.Key, b.Key) && a.IntervalEnd == b.IntervalEnd
	}
	sorted := func(all []nftables.SetElement) []nftables.SetElement {
		return slices.SortedFunc(slices.Values(all), func(a, b nftables.SetElement) int { return bytes.Compare(a.Key, b.Key) })
	}
	return slices.EqualFunc(sorted(held), sorted(want), same)
}
