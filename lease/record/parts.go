package record

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
)

// StatefulBlock is a block that is kept for reservations. It is claimed with the first one in it.
func StatefulBlock(at ipam.BlockID) Block {
	return Block{Pool: at.Pool, Prefix: at.Prefix, Parts: []Part{{Prefix: at.Prefix, Owner: OwnerStateful}}}
}

// Uncovered is what no part of the block covers, in order: it is nobody's.
func (b *Block) Uncovered() []netip.Prefix {
	return allocator.Subtract(b.Prefix, PrefixesOf(b.Parts))
}

// Of are the parts of an owner.
func (b *Block) Of(owner string) []Part {
	return slices.DeleteFunc(slices.Clone(b.Parts), func(p Part) bool { return p.Owner != owner })
}

// OwnerOf is whose an address is; empty: nobody's.
func (b *Block) OwnerOf(a netip.Addr) string {
	part, _ := b.PartOf(a)
	return part.Owner
}

// PartOf is the part that an address lies in; not owned: it is nobody's.
func (b *Block) PartOf(a netip.Addr) (part Part, owned bool) {
	for _, p := range b.Parts {
		if p.Prefix.Contains(a) {
			return p, true
		}
	}
	return Part{}, false
}

// Stateful reports whether the whole block is kept for reservations, but for what nodes have for addresses of their own.
func (b *Block) Stateful() bool { return b.owns(OwnerStateful) && !b.OfNodes() }

// owns reports whether something of the block is an owner's.
func (b *Block) owns(owner string) bool {
	return slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Owner == owner })
}

// OfNodes reports whether a node may allocate something of the block.
func (b *Block) OfNodes() bool {
	return slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Owner != OwnerStateful && p.Owner != OwnerMachine })
}

// OwnersInWords names the nodes that may allocate something of the block.
func (b *Block) OwnersInWords() string {
	var names []string
	for _, p := range b.Parts {
		if word := "node " + p.Owner; p.Owner != OwnerStateful && p.Owner != OwnerMachine && !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	return strings.Join(names, " and ")
}

// Without is b with what was an owner's as nobody's.
func (b Block) Without(owner string) Block {
	b.Parts = slices.DeleteFunc(slices.Clone(b.Parts), func(p Part) bool { return p.Owner == owner })
	return b
}

// Owned reports whether all of part is an owner's.
func (b *Block) Owned(part netip.Prefix, owner string) bool {
	return len(allocator.Subtract(part, PrefixesOf(b.Of(owner)))) == 0
}

// Covered is b with what was nobody's as an owner's.
func (b Block) Covered(owner string) Block {
	parts := slices.Clone(b.Parts)
	for _, p := range b.Uncovered() {
		parts = append(parts, Part{Prefix: p, Owner: owner})
	}
	b.Parts = Canonical(parts)
	return b
}

// Moved is b with what of part was from's as to's; without to it is nobody's. What is said of a part goes along.
func (b Block) Moved(part netip.Prefix, from, to string) Block {
	var parts []Part
	for _, p := range b.Parts {
		if p.Owner != from || !p.Prefix.Overlaps(part) {
			parts = append(parts, p)
			continue
		}
		for _, left := range allocator.Subtract(p.Prefix, []netip.Prefix{part}) {
			parts = append(parts, Part{Prefix: left, Owner: from, Taken: p.Taken})
		}
		if to != "" {
			parts = append(parts, Part{Prefix: smaller(p.Prefix, part), Owner: to, Taken: p.Taken})
		}
	}
	b.Parts = Canonical(parts)
	return b
}

// smaller is what two prefixes that overlap have in common.
func smaller(a, b netip.Prefix) netip.Prefix {
	if a.Bits() > b.Bits() {
		return a
	}
	return b
}

// Canonical is the one way to write the parts of a block: in order, and siblings that say the same are one.
func Canonical(parts []Part) []Part {
	slices.SortFunc(parts, func(a, b Part) int { return a.Prefix.Compare(b.Prefix) })
	var out []Part
	for _, p := range parts {
		for n := len(out); n > 0 && siblings(out[n-1], p); n = len(out) {
			p.Prefix = netip.PrefixFrom(out[n-1].Prefix.Addr(), p.Prefix.Bits()-1)
			out = out[:n-1]
		}
		out = append(out, p)
	}
	return out
}

// siblings reports whether two parts, of which a is the lower, say the same of the halves of one prefix.
func siblings(a, b Part) bool {
	whole := netip.PrefixFrom(b.Prefix.Addr(), b.Prefix.Bits()-1).Masked()
	return a.Owner == b.Owner && a.Node == b.Node && a.Taken == b.Taken && a.Prefix.Bits() == b.Prefix.Bits() &&
		whole.Addr() == a.Prefix.Addr()
}

// PrefixesOf are the prefixes of parts.
func PrefixesOf(parts []Part) []netip.Prefix {
	all := make([]netip.Prefix, len(parts))
	for i, p := range parts {
		all[i] = p.Prefix
	}
	return all
}

// With is b with a part in place of whatever its addresses were.
func (b Block) With(part Part) Block {
	parts := []Part{part}
	for _, p := range b.Parts {
		for _, left := range allocator.Subtract(p.Prefix, []netip.Prefix{part.Prefix}) {
			q := p
			q.Prefix = left
			parts = append(parts, q)
		}
	}
	b.Parts = Canonical(parts)
	return b
}

// WithoutMachine is b without what a node has of a prefix for addresses of its own: in a block that is kept for reservations it
// is kept for them again, elsewhere it is nobody's.
func (b Block) WithoutMachine(node string, prefix netip.Prefix) Block {
	var parts []Part
	for _, p := range b.Parts {
		switch {
		case p.Owner != OwnerMachine || p.Node != node || !prefix.Overlaps(p.Prefix):
			parts = append(parts, p)
		case b.owns(OwnerStateful):
			parts = append(parts, Part{Prefix: p.Prefix, Owner: OwnerStateful})
		}
	}
	b.Parts = Canonical(parts)
	return b
}

// Machines are the parts that are addresses of nodes themselves.
func (b *Block) Machines() []Part { return b.Of(OwnerMachine) }
