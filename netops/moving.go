package netops

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Which addresses of an uplink are the bridge's is decided here; docs/uplink.md says it for people. A NIC gives the bridge all
// that it has when it becomes a port. Later it gives up a lease, which a DHCP client has renewed or got anew on the NIC that
// it knows; an address that another program adds there stays, because that program will remove it there (keepalived, for one). The
// kernel answers for such an address over the bridge, too.

// moving picks what of a NIC's addresses and routes the bridge is to have. there are the bridge's addresses.
func moving(isPort bool, addresses []rtnl.Address, routes []rtnl.Route, there []rtnl.Address) ([]rtnl.Address, []rtnl.Route) {
	// If the bridge has a permanent address of the NIC, a move was interrupted.
	whole := !isPort || slices.ContainsFunc(addresses, func(a rtnl.Address) bool { return !a.Ends() && indexOf(there, a.Prefix) >= 0 })
	stays := func(a rtnl.Address) bool {
		switch {
		case a.Ends(), a.Scope == unix.RT_SCOPE_LINK, indexOf(there, a.Prefix) >= 0:
			return false
		case floats(a, addresses), floats(a, there):
			return true
		}
		return !whole && reached(a, there)
	}
	var move, stay []rtnl.Address
	for _, a := range addresses {
		if stays(a) {
			stay = append(stay, a)
		} else {
			move = append(move, a)
		}
	}
	routes = slices.DeleteFunc(slices.Clone(routes), func(r rtnl.Route) bool { // the kernel's own for what stays
		own := func(a rtnl.Address) bool { return a.Prefix.Masked() == r.To }
		return !r.Via.IsValid() && slices.ContainsFunc(stay, own) && !slices.ContainsFunc(move, own)
	})
	return move, routes
}

// floats reports whether an address is one that floats over a subnet: it lasts, stands alone, and lies in the subnet of
// another. A virtual router's is such a one (RFC 9568).
func floats(a rtnl.Address, among []rtnl.Address) bool {
	return a.Prefix.IsSingleIP() && !a.Ends() && reached(a, among)
}

// reached reports whether an address lies in the subnet of another one.
func reached(a rtnl.Address, among []rtnl.Address) bool {
	return slices.ContainsFunc(among, func(other rtnl.Address) bool {
		return !other.Prefix.IsSingleIP() && other.Prefix != a.Prefix && other.Scope == unix.RT_SCOPE_UNIVERSE &&
			other.Prefix.Contains(a.Prefix.Addr())
	})
}

func indexOf(addresses []rtnl.Address, p netip.Prefix) int {
	return slices.IndexFunc(addresses, func(a rtnl.Address) bool { return a.Prefix == p })
}
