package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// What a port is to have and may be, as netops has it.

func macFor(p *netops.Port) net.HardwareAddr {
	if len(p.MAC) != 0 {
		return p.MAC
	}
	var addrs []netip.Addr
	for _, a := range p.Addresses {
		addrs = append(addrs, a.Addr())
	}
	return netops.MACFor(addrs)
}

// routesOf are all routes that a container is to have: those that were named, then default ones via the gateways.
func routesOf(p *netops.Port) (all []netops.Route) {
	gateway := func(of netip.Addr) netip.Addr {
		at := slices.IndexFunc(p.Gateways, func(g netip.Addr) bool { return g.Is4() == of.Is4() })
		if at < 0 {
			return netip.Addr{}
		}
		return p.Gateways[at]
	}
	for _, r := range p.Routes {
		if !r.Via.IsValid() {
			r.Via = gateway(r.To.Addr())
		}
		all = append(all, r)
	}
	for _, g := range p.Gateways {
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if g.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if !slices.ContainsFunc(p.Routes, func(r netops.Route) bool { return r.To == everywhere }) {
			all = append(all, netops.Route{To: everywhere, Via: g})
		}
	}
	return all
}

// validate reports what no kernel could make, and finds the port's namespace.
func (l *LAN) validate(p *netops.Port) (*Namespace, error) {
	switch {
	case !strings.HasPrefix(p.Name, netops.Prefix) || len(p.Name) >= unix.IFNAMSIZ:
		return nil, fmt.Errorf("port name %q: want %q and at most %d bytes in all, as PortName gives it",
			p.Name, netops.Prefix, unix.IFNAMSIZ-1)
	case p.Interface == "" || len(p.Interface) >= unix.IFNAMSIZ:
		return nil, fmt.Errorf("interface name %q: want 1 to %d bytes", p.Interface, unix.IFNAMSIZ-1)
	case len(p.Alias) > rtnl.MaxWords:
		return nil, fmt.Errorf("alias of %d bytes: at most %d are allowed", len(p.Alias), rtnl.MaxWords)
	case len(p.Addresses) == 0:
		return nil, errors.New("no address is given: want at least one")
	}
	for _, a := range p.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() {
			return nil, fmt.Errorf("address %v: want an address and the length of its subnet's prefix", a)
		}
	}
	seen := map[netip.Prefix]bool{}
	for _, r := range routesOf(p) {
		if seen[r.To.Masked()] {
			return nil, fmt.Errorf("two routes to %v: want at most one", r.To)
		}
		seen[r.To.Masked()] = true
		if !r.To.IsValid() || r.Via.IsValid() && r.Via.Is4() != r.To.Addr().Is4() {
			return nil, fmt.Errorf("route to %v via %v: want a prefix, and a gateway of its family", r.To, r.Via)
		}
	}
	return l.namespace(p.Netns)
}

// namespace finds the namespace of an open file.
func (l *LAN) namespace(ns *os.File) (*Namespace, error) {
	if ns == nil {
		return nil, errors.New("no network namespace is given: want an open one")
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &s); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", ns.Name(), err)
	}
	n := l.byInode[s.Ino]
	if n == nil || s.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a network namespace", ns.Name())
	}
	return n, nil
}

// A standing is the state of one of a container's routes.
type standing int

const (
	absent standing = iota
	asPut
	moved    // to another table
	overlaid // something else leads there
)

func (n *Namespace) standing(want netops.Route, l *link) standing {
	is := absent
	for _, r := range n.routes {
		same := l != nil && r.link == l && r.Via == want.Via
		switch {
		case r.To != want.To.Masked():
		case same && r.table == mainTable:
			return asPut
		case same:
			is = moved
		case r.table == mainTable && is == absent:
			is = overlaid
		}
	}
	return is
}
