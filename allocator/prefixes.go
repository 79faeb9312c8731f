package allocator

import (
	"net/netip"
	"slices"
)

// Subtract is the fewest prefixes that make up what of p no cut covers, in order.
func Subtract(p netip.Prefix, cuts []netip.Prefix) []netip.Prefix { return subtract(p, cuts, nil) }

func subtract(p netip.Prefix, cuts, left []netip.Prefix) []netip.Prefix {
	var inside []netip.Prefix
	for _, c := range cuts {
		switch {
		case !c.Overlaps(p):
		case c.Bits() <= p.Bits():
			return left
		default:
			inside = append(inside, c)
		}
	}
	if len(inside) == 0 {
		return append(left, p)
	}
	lower, upper := halves(p)
	return subtract(upper, inside, subtract(lower, inside, left))
}

// halves are those of p, which has more than one address.
func halves(p netip.Prefix) (lower, upper netip.Prefix) {
	bits := p.Bits() + 1
	n, top := numberOf(p.Masked().Addr()), number{lo: 1}.shiftLeft(p.Addr().BitLen()-bits)
	middle := number{n.hi | top.hi, n.lo | top.lo}.addr(FamilyOf(p.Addr()))
	return netip.PrefixFrom(p.Masked().Addr(), bits), netip.PrefixFrom(middle, bits)
}

// HasUsable reports whether a container may be given an address of part, a part of the pool.
func (p *Pool) HasUsable(part netip.Prefix) bool {
	r := rangeOf(part)
	return slices.ContainsFunc(p.usable(FamilyOf(part.Addr())), func(u Range) bool {
		return u.From.Compare(r.To) <= 0 && r.From.Compare(u.To) <= 0
	})
}
