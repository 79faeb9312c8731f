package fence

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// isolation is what the sets hold of an isolated member of a table. Its pairs are also where the host forwards.
func (m *Member) isolation(table *nftables.Table) []element {
	all := []element{{of(table, isolated), portKey(m.Port)}}
	for _, a := range m.Addresses {
		a = a.Unmap()
		set := selvesV6
		if a.Is4() {
			set = selvesV4
		}
		key := portKey(m.Port) + string(a.AsSlice()) + string(a.AsSlice())
		for _, e := range []element{{of(table, set), key}, {twins[set], key}} {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// pairs reports whether a set has pairs of an address and itself, whose port is their comment.
func pairs(set *nftables.Set) bool {
	return set == selvesV4 || set == selvesV6 || set == twins[selvesV4] || set == twins[selvesV6]
}

// written is an element as the kernel is told of it.
func (e element) written() nftables.SetElement {
	if pairs(e.set) {
		return nftables.SetElement{Key: []byte(e.key[unix.IFNAMSIZ:]), Comment: portOf(e.key)}
	}
	return nftables.SetElement{Key: []byte(e.key)}
}

// elementOf is an element as the kernel tells of it.
func elementOf(set *nftables.Set, told nftables.SetElement) element {
	if pairs(set) {
		return element{set, portKey(told.Comment) + string(told.Key)}
	}
	return element{set, string(told.Key)}
}

// learn adds an address to a member that it was told without.
func (m *Member) learn(address string) {
	a, ok := netip.AddrFromSlice([]byte(address))
	if ok && !a.IsLinkLocalUnicast() && !slices.Contains(m.Addresses, a) {
		m.Addresses = append(m.Addresses, a)
	}
}
