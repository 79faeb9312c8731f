package allocator

import (
	"net/netip"
	"slices"
)

// WithDefaults is p with defaults in place of zero block sizes, reuse and cooldown. A caller that accepts zero for reuse and
// cooldown decodes into a Pool with defaults instead.
func (p Pool) WithDefaults() Pool {
	if p.BlockSize.V4 == 0 {
		p.BlockSize.V4 = DefaultBlockV4
	}
	if p.BlockSize.V6 == 0 {
		p.BlockSize.V6 = DefaultBlockV6
	}
	if p.Reuse == 0 {
		p.Reuse = DefaultReuse
	}
	if p.Cooldown == 0 {
		p.Cooldown = DefaultCooldown
	}
	return p
}

// DefaultRoute reports whether a gateway makes a default route in the pool's containers.
func (p *Pool) DefaultRoute() bool { return p.Default == nil || *p.Default }

// AntiSpoofs reports whether the pool's containers send only from their own MACs and addresses.
func (p *Pool) AntiSpoofs() bool { return p.AntiSpoof == nil || *p.AntiSpoof }

// Usable reports whether a container may be given a: it is in the pool, and it is neither excluded nor draining, nor the gateway or
// a former one that some node may still have, nor one of the CIDR's own: IPv4's network and broadcast addresses (RFC 1122,
// section 3.2.1.3) and IPv6's subnet-router anycast address (RFC 4291, section 2.6.1). The CIDR of a routed pool is no subnet, since
// each container's prefix is its address alone, and has none of those.
func (p *Pool) Usable(a netip.Addr) bool {
	if !p.Contains(a) {
		return false
	}
	for _, cut := range p.unusable(FamilyOf(a)) {
		if cut.Contains(a) {
			return false
		}
	}
	return true
}

// UsableCount is how many addresses of family f are usable; it saturates.
func (p *Pool) UsableCount(f Family) uint64 { return countUnits(p.usable(f), 0) }

// UsableCountIn is how many addresses of one of the pool's CIDRs are usable; it saturates.
func (p *Pool) UsableCountIn(cidr netip.Prefix) uint64 {
	return countUnits(without(rangeOf(cidr), p.unusable(FamilyOf(cidr.Addr()))), 0)
}

// StatelessCount is how many of them stateless containers may be given; it saturates.
func (p *Pool) StatelessCount(f Family) uint64 { return countUnits(p.stateless(f), 0) }

// InStateful reports whether a lies in one of the pool's stateful ranges.
func (p *Pool) InStateful(a netip.Addr) bool {
	for _, s := range p.Stateful {
		if s.Contains(a) {
			return true
		}
	}
	return false
}

// BlockOf is the block that a lies in, or the zero Prefix if a is not in the pool.
func (p *Pool) BlockOf(a netip.Addr) netip.Prefix {
	if !p.Contains(a) {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, p.blockBits(FamilyOf(a))).Masked()
}

// PickBlock gives the first block for stateless containers, from position start mod their count, that has a usable
// address and is not used; it goes round once.
func (p *Pool) PickBlock(f Family, start uint64, used func(netip.Prefix) bool) (netip.Prefix, bool) {
	size := p.blockBits(f)
	a, found := pick(p.statelessBlocks(f), addressBits(f)-size, start, func(a netip.Addr) bool {
		return !used(netip.PrefixFrom(a, size))
	})
	return netip.PrefixFrom(a, size), found
}

// statelessBlocks are the first addresses of the blocks outside of the stateful ranges that have a usable address.
func (p *Pool) statelessBlocks(f Family) []Range {
	var blocks []Range
	for _, s := range p.stateless(f) {
		from, to := p.BlockOf(s.From).Addr(), p.BlockOf(s.To).Addr()
		if n := len(blocks); n > 0 && blocks[n-1].To == from {
			blocks[n-1].To = to
			continue
		}
		blocks = append(blocks, Range{from, to})
	}
	return blocks
}

// stateless are the ranges of usable addresses of family f outside of the stateful ranges, in order.
func (p *Pool) stateless(f Family) []Range {
	cuts := p.unusable(f)
	for _, s := range p.Stateful {
		cuts = append(cuts, rangeOf(s))
	}
	return p.whole(f, cuts)
}

// usable are the ranges of usable addresses of family f, in order.
func (p *Pool) usable(f Family) []Range { return p.whole(f, p.unusable(f)) }

// whole is what the cuts leave of the CIDRs of family f, in order.
func (p *Pool) whole(f Family, cuts []Range) (left []Range) {
	for _, c := range p.CIDRsOf(f) {
		left = append(left, without(rangeOf(c), cuts)...)
	}
	return left
}

// unusable is what may not be given out of the CIDRs of family f. What is of the other family cuts nothing there.
func (p *Pool) unusable(f Family) []Range {
	var cuts []Range
	for _, c := range p.CIDRs {
		if p.Layer3() || FamilyOf(c.Addr()) != f {
			continue
		}
		whole := rangeOf(c)
		cuts = append(cuts, Range{whole.From, whole.From})
		if f == V4 {
			cuts = append(cuts, Range{whole.To, whole.To})
		}
	}
	for _, c := range p.DrainingCIDRs {
		cuts = append(cuts, rangeOf(c))
	}
	for _, g := range slices.Concat(p.Gateways, p.Former) {
		cuts = append(cuts, Range{g, g})
	}
	return append(cuts, p.Exclude...)
}

func (p *Pool) blockBits(f Family) int {
	if f == V4 {
		return p.BlockSize.V4
	}
	return p.BlockSize.V6
}

// addressBits is the length of an address of family f in bits.
func addressBits(f Family) int {
	if f == V4 {
		return 32
	}
	return 128
}
