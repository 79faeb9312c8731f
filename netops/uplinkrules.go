package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
	"golang.org/x/sys/unix"
)

// Which addresses of an uplink are the bridge's is decided here; docs/uplink.md says it for people. A NIC gives the bridge all
// that it has when it becomes a port. Later it gives up a lease, which a DHCP client has renewed or got anew on the NIC that
// it knows; what somebody else adds there is his, who will look for it there to take it away (keepalived, for one). The kernel
// answers for such an address over the bridge, too.

// moving picks what of a NIC's addresses and routes the bridge is to have. there are the bridge's addresses.
func moving(isPort bool, addresses []rtnl.Address, routes []rtnl.Route, there []rtnl.Address) ([]rtnl.Address, []rtnl.Route) {
	// Where the bridge has an address of the NIC that nobody renews, a move was cut short.
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

// uplink looks at the NIC.
func (x *examination) uplink(s *rtnl.Socket) error {
	name, bridge := x.want.Uplink, x.want.Name
	if name == "" {
		return nil
	}
	nic, there := x.byName[name]
	if !there {
		is, err := uplinkOf(s, bridge)
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if err != nil {
			x.leave("uplink-gone", "plug it in, or name another uplink in the network's configuration",
				"uplink %s of bridge %s does not exist: containers of other nodes are out of reach", name, bridge)
			return nil
		}
		nic = is
		x.leave("uplink-renamed", fmt.Sprintf("name %s as the uplink in the network's configuration, or give the NIC its name back", nic.Name),
			"uplink %s of bridge %s is called %s now", name, bridge, nic.Name)
	}
	switch {
	case nic.Master == 0:
		x.add("uplink-out", "uplink %s is not a port of bridge %s", nic.Name, bridge)
		return nil
	case nic.Master != x.bridge.Index:
		x.leave("uplink-elsewhere", fmt.Sprintf("put it back: ip link set %s master %s", nic.Name, bridge),
			"uplink %s is a port of %s, and not of bridge %s", nic.Name, x.names[nic.Master], bridge)
		return nil
	case !nic.Up():
		x.leave("uplink-down", "bring it up: ip link set "+nic.Name+" up", "uplink %s of bridge %s was taken down", nic.Name, bridge)
	}
	move, err := moveSteps(s, nic, x.bridge)
	if err == nil && len(move) > 0 {
		x.add("uplink-address", "a DHCP client, or somebody else, has put addresses or routes on uplink %s that belong on bridge %s", nic.Name,
			bridge)
	}
	return err
}

// lease looks at a host's address on the bridge that its DHCP client has to renew.
func (x *examination) lease(a rtnl.Address) {
	if x.want.Uplink == "" || !a.Ends() || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_TEMPORARY != 0 {
		return
	}
	left := a.Left()
	// a client rebinds after 7/8 of it (RFC 2131, section 4.4.5)
	if whole := x.k.bridges.longest(x.want.Name, a.Prefix, left); left >= whole/8 {
		return
	}
	x.leave("lease-not-renewed", fmt.Sprintf("let the DHCP client run on %s instead of %s: see docs/uplink.md", x.want.Name, x.want.Uplink),
		"the host's address %v on bridge %s runs out in %v, and nobody has renewed it", a.Prefix, x.want.Name, left)
}
