package netops

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// NodeAddresses finds the addresses by which other machines know this host: of each family the one that it has where its default route
// leads. A family without a default route of the main table has none.
func (k *Kernel) NodeAddresses() (found []netip.Addr, err error) {
	err = k.host.With(func(s *rtnl.Socket) error {
		routes, err := rtnl.Routes(s)
		if err != nil {
			return err
		}
		held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, 0)
		if err != nil {
			return err
		}
		for _, everything := range [...]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
			if way := nearest(routes, everything); way != nil {
				if a := sourceOf(way, held); a.IsValid() {
					found = append(found, a)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("netops: find this host's addresses: %w", err)
	}
	return found, nil
}

// nearest is the route of the main table to a prefix that the kernel takes; nil: there is none.
func nearest(routes []rtnl.Route, to netip.Prefix) (way *rtnl.Route) {
	for i := range routes {
		if r := &routes[i]; r.To == to && r.Table == unix.RT_TABLE_MAIN && r.Index != 0 && (way == nil || r.Nearer(way)) {
			way = r
		}
	}
	return way
}

// sourceOf is the address that the host has over a route: the one that the route prefers, else the first of its link, before others one
// in the gateway's subnet. Gateways of containers, and addresses that are not lasting or not usable yet, are none.
func sourceOf(way *rtnl.Route, held []rtnl.Address) (source netip.Addr) {
	if way.Source.IsValid() {
		return way.Source
	}
	const passing = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	for _, a := range held {
		addr := a.Prefix.Addr()
		unfit := a.Proto == rtnl.OurProto || a.Scope != unix.RT_SCOPE_UNIVERSE || addr.Is6() && a.Flags&passing != 0
		switch {
		case a.Index != way.Index || unfit || addr.Is4() != way.To.Addr().Is4() || !addr.IsGlobalUnicast():
		case way.Via.IsValid() && a.Prefix.Masked().Contains(way.Via):
			return addr
		case !source.IsValid():
			source = addr
		}
	}
	return source
}
