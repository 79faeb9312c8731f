package allocator

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

func rangeOf(p netip.Prefix) Range { return Range{p.Masked().Addr(), last(p)} }

// last is the highest address of p.
func last(p netip.Prefix) netip.Addr {
	host := p.Addr().BitLen() - p.Bits()
	base := numberOf(p.Addr()).shiftRight(host).shiftLeft(host)
	top := number{math.MaxUint64, math.MaxUint64}.shiftRight(128 - host)
	return number{base.hi | top.hi, base.lo | top.lo}.addr(FamilyOf(p.Addr()))
}

// without is what the cuts leave of whole, in order. It sorts cuts.
func without(whole Range, cuts []Range) []Range {
	slices.SortFunc(cuts, func(a, b Range) int { return a.From.Compare(b.From) })
	var left []Range
	from := whole.From
	for _, c := range cuts {
		if c.From.Compare(whole.To) > 0 {
			break
		}
		if from.Less(c.From) {
			left = append(left, Range{from, c.From.Prev()})
		}
		if c.To.Compare(whole.To) >= 0 {
			return left
		}
		if from.Compare(c.To) <= 0 {
			from = c.To.Next()
		}
	}
	return append(left, Range{from, whole.To})
}

// within reports whether one of ranges, which are in order and apart, contains a.
func within(ranges []Range, a netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(ranges, a, func(s Range, a netip.Addr) int { return s.To.Compare(a) })
	return i < len(ranges) && ranges[i].Contains(a)
}

// units counts the aligned groups of 2^host addresses that r touches; it saturates.
func (r Range) units(host int) uint64 {
	from, to := numberOf(r.From).shiftRight(host), numberOf(r.To).shiftRight(host)
	lo, borrow := bits.Sub64(to.lo, from.lo, 0)
	hi, _ := bits.Sub64(to.hi, from.hi, borrow)
	if hi > 0 || lo == math.MaxUint64 {
		return math.MaxUint64
	}
	return lo + 1
}

// unit is the first address of the nth such group, counted from 0.
func (r Range) unit(n uint64, host int) netip.Addr {
	group := numberOf(r.From).shiftRight(host)
	lo, carry := bits.Add64(group.lo, n, 0)
	return number{group.hi + carry, lo}.shiftLeft(host).addr(FamilyOf(r.From))
}

func countUnits(ranges []Range, host int) uint64 {
	total := uint64(0)
	for _, r := range ranges {
		sum, carry := bits.Add64(total, r.units(host), 0)
		if carry > 0 {
			return math.MaxUint64
		}
		total = sum
	}
	return total
}

// pick goes once around the groups of 2^host addresses of ranges, from position start mod their count, and gives the
// first address of the first group that suits.
func pick(ranges []Range, host int, start uint64, suits func(netip.Addr) bool) (netip.Addr, bool) {
	total := countUnits(ranges, host)
	if total == 0 {
		return netip.Addr{}, false
	}
	start %= total
	for n := range total {
		position := n - (total - start)
		if n < total-start {
			position = start + n
		}
		if a := unitAt(ranges, host, position); suits(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func unitAt(ranges []Range, host int, position uint64) netip.Addr {
	for _, r := range ranges {
		count := r.units(host)
		if position < count {
			return r.unit(position, host)
		}
		position -= count
	}
	return netip.Addr{}
}

// A number is an address's value in 128 bits.
type number struct{ hi, lo uint64 }

func numberOf(a netip.Addr) number {
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n number) addr(f Family) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	a := netip.AddrFrom16(b)
	if f == V4 {
		return a.Unmap()
	}
	return a
}

func (n number) shiftRight(by int) number {
	if by >= 64 {
		return number{0, n.hi >> (by - 64)}
	}
	return number{n.hi >> by, n.lo>>by | n.hi<<(64-by)}
}

func (n number) shiftLeft(by int) number {
	if by >= 64 {
		return number{n.lo << (by - 64), 0}
	}
	return number{n.hi<<by | n.lo>>(64-by), n.lo << by}
}
