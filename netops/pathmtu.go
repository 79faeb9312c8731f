package netops

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// overhead is what a tunnel puts before a container's packet, in bytes: the Ethernet header in it, and the headers of VXLAN, UDP and IP
// (RFC 7348, section 5).
func overhead(outerIs4 bool) int {
	const ethernet, vxlan, udp, v4, v6 = 14, 8, 8, 20, 40
	if outerIs4 {
		return ethernet + vxlan + udp + v4
	}
	return ethernet + vxlan + udp + v6
}

// PathMTU is the greatest packet of a container that fits between nodes without fragmentation, in bytes: the MTU of the link with this
// node's own address (the smaller one where those of the families are on two links), and for tunnelled ones less what the tunnel takes.
// It is 0 where no link has such an address: then no node reaches another. The node's addresses are those of the last SetRouting, or
// what NodeAddresses finds. Where it may have changed since the last SetRouting, HostChanged comes, once until the next one.
func (k *Kernel) PathMTU(tunnelled bool) (int, error) {
	locals := k.routing.locals()
	var err error
	if len(locals) == 0 {
		if locals, err = k.NodeAddresses(); err != nil {
			return 0, err
		}
	}
	least := 0
	err = k.host.With(func(s *rtnl.Socket) error {
		uplinks, err := uplinksOf(s, locals)
		for _, a := range locals {
			l, there := uplinks[a]
			mtu := l.MTU
			if tunnelled {
				mtu -= overhead(a.Is4())
			}
			if there && (least == 0 || mtu < least) {
				least = mtu
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("netops: find the path MTU: %w", err)
	}
	return least, nil
}

// uplinksOf are the links with a node's own addresses, except its tunnels.
func uplinksOf(s *rtnl.Socket, locals []netip.Addr) (map[netip.Addr]rtnl.Link, error) {
	links, err := rtnl.Links(s)
	if err != nil {
		return nil, err
	}
	held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, 0)
	if err != nil {
		return nil, err
	}
	found := map[netip.Addr]rtnl.Link{}
	for _, a := range held {
		at := slices.IndexFunc(links, func(l rtnl.Link) bool { return l.Index == a.Index && !isTunnel(l.Name) })
		if at >= 0 && slices.Contains(locals, a.Prefix.Addr()) {
			found[a.Prefix.Addr()] = links[at]
		}
	}
	return found, nil
}
