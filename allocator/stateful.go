package allocator

import (
	"hash/fnv"
	"io"
	"net/netip"
)

// PickStateful gives the first usable address of the stateful ranges of family f, from a position hashed from the
// identity, that is not taken; it goes round once. The hash spreads members that many nodes reserve at once, so that
// they seldom want the same address.
func (p *Pool) PickStateful(f Family, id Identity, taken func(netip.Addr) bool) (netip.Addr, bool) {
	cuts := p.unusable(f)
	var ranges []Range
	for _, s := range p.Stateful {
		if FamilyOf(s.Addr()) == f {
			ranges = append(ranges, without(rangeOf(s), cuts)...)
		}
	}
	return pick(ranges, 0, id.hash(), func(a netip.Addr) bool { return !taken(a) })
}

// hash is FNV-1a over the names, each ended by a byte that no name has.
func (i Identity) hash() uint64 {
	h := fnv.New64a()
	for _, name := range [...]string{i.Namespace, i.App, i.Member, i.Network, i.Interface} {
		io.WriteString(h, name)
		h.Write([]byte{0})
	}
	return h.Sum64()
}
