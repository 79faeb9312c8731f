package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// The host has a link route to each subnet behind a bridge of which it has no address there, so that it reaches the containers without
// a router. Such a route has Berth's number as its protocol; by that Retire knows it.

// giveSubnets adds those routes over the bridge that the host lacks. One to the same subnet that somebody else has put stays instead.
func giveSubnets(s *rtnl.Socket, b Bridge, bridge rtnl.Link, held []rtnl.Address) error {
	for _, subnet := range b.Subnets {
		if connected(subnet, held) {
			continue
		}
		put := rtnl.PutRoute(bridge.Index, subnet, netip.Addr{}, fmt.Sprintf("add route to %v", subnet))
		put.Ours()
		err := s.Ensure(put)
		if b.Uplink != "" && subnet.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENODEV)) {
			continue // the host itself speaks no IPv6 there, by its NIC's settings
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connected reports whether an address comes with a route that covers a subnet.
func connected(subnet netip.Prefix, held []rtnl.Address) bool {
	return slices.ContainsFunc(held, func(a rtnl.Address) bool {
		return a.Prefix.Bits() <= subnet.Bits() && a.Prefix.Masked().Contains(subnet.Addr())
	})
}

// subnets looks for the routes to the subnets behind the bridge.
func (x *examination) subnets(held []rtnl.Address, routes []rtnl.Route) {
	for _, subnet := range x.want.Subnets {
		leads := func(r rtnl.Route) bool { return r.Table == unix.RT_TABLE_MAIN && r.To == subnet.Masked() }
		speaks := func(a rtnl.Address) bool { return a.Prefix.Addr().Is6() }
		switch {
		case connected(subnet, held), slices.ContainsFunc(routes, leads):
		case x.want.Uplink != "" && subnet.Addr().Is6() && !slices.ContainsFunc(held, speaks):
		default:
			x.add("route-gone", "the host has no route to %v over bridge %s: it reaches its containers only by a router", subnet, x.want.Name)
		}
	}
}
