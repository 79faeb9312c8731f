package allocator

import (
	"net/netip"
	"slices"
)

// Has reports whether the pool has addresses of family f.
func (p *Pool) Has(f Family) bool {
	return slices.ContainsFunc(p.CIDRs, func(c netip.Prefix) bool { return FamilyOf(c.Addr()) == f })
}

// Families are those that the pool has a CIDR of, V4 first.
func (p *Pool) Families() []Family {
	return slices.DeleteFunc([]Family{V4, V6}, func(f Family) bool { return !p.Has(f) })
}

// Drains reports whether nothing is allocated around a anew: the pool is to be removed, or the CIDR that a lies in.
func (p *Pool) Drains(a netip.Addr) bool {
	return p.Draining || slices.ContainsFunc(p.DrainingCIDRs, func(c netip.Prefix) bool { return c.Contains(a) })
}

// DrainsAll reports whether all of some CIDRs are draining.
func (p *Pool) DrainsAll(cidrs []netip.Prefix) bool {
	return !slices.ContainsFunc(cidrs, func(c netip.Prefix) bool { return !p.Drains(c.Addr()) })
}

// Giving are the families of which a new container is given an address: those of which not all CIDRs are draining.
func (p *Pool) Giving() []Family {
	return slices.DeleteFunc(p.Families(), func(f Family) bool { return p.DrainsAll(p.CIDRsOf(f)) })
}

// CIDRsOf are the pool's CIDRs of family f, in order of their addresses.
func (p *Pool) CIDRsOf(f Family) []netip.Prefix {
	cidrs := slices.DeleteFunc(slices.Clone(p.CIDRs), func(c netip.Prefix) bool { return FamilyOf(c.Addr()) != f })
	slices.SortFunc(cidrs, netip.Prefix.Compare)
	return cidrs
}

// CIDROf is the CIDR that a lies in, or the zero Prefix if a is not in the pool.
func (p *Pool) CIDROf(a netip.Addr) netip.Prefix {
	for _, c := range p.CIDRs {
		if c.Contains(a) {
			return c
		}
	}
	return netip.Prefix{}
}

// Contains reports whether a lies in one of the pool's CIDRs.
func (p *Pool) Contains(a netip.Addr) bool { return p.CIDROf(a).IsValid() }

// Prefix is what an interface is configured with: a with the length of the CIDR that it lies in. In a routed pool, or outside of the
// pool, it is a alone.
func (p *Pool) Prefix(a netip.Addr) netip.Prefix {
	if c := p.CIDROf(a); c.IsValid() && !p.Layer3() {
		return netip.PrefixFrom(a, c.Bits())
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// AllGateways are the gateways of the pool's containers, those of V4 first. A routed pool has the same ones on each node.
func (p *Pool) AllGateways() (all []netip.Addr) {
	for _, f := range p.Families() {
		if p.Layer3() {
			all = append(all, RoutedGateways[f])
			continue
		}
		for _, g := range p.Gateways {
			if FamilyOf(g) == f {
				all = append(all, g)
			}
		}
	}
	return all
}

// GatewayOf is the gateway of whoever has address a: the one in the CIDR that a lies in, else the one of its family outside of the
// pool; the zero Addr if there is none, or a is not in the pool.
func (p *Pool) GatewayOf(a netip.Addr) netip.Addr { return p.gatewayOf(p.CIDROf(a)) }

func (p *Pool) gatewayOf(cidr netip.Prefix) (gateway netip.Addr) {
	if !cidr.IsValid() {
		return gateway
	}
	for _, g := range p.AllGateways() {
		switch {
		case cidr.Contains(g):
			return g
		case FamilyOf(g) == FamilyOf(cidr.Addr()) && !p.Contains(g):
			gateway = g
		}
	}
	return gateway
}

// ServedBy are the CIDRs whose containers have gateway g.
func (p *Pool) ServedBy(g netip.Addr) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(p.CIDRs), func(c netip.Prefix) bool { return p.gatewayOf(c) != g })
}

// GatewaysOf are those of a container with these addresses, in their order.
func (p *Pool) GatewaysOf(addresses []netip.Addr) (all []netip.Addr) {
	for _, a := range addresses {
		if g := p.GatewayOf(a); g.IsValid() {
			all = append(all, g)
		}
	}
	return all
}

// RoutesOf are the routes of a container with these addresses, each with its via: the default routes by its gateways, unless the
// pool excludes them, then the pool's own, of the addresses' families. A route by a router of one CIDR is no other CIDR's, since that
// router is not on their link.
func (p *Pool) RoutesOf(addresses []netip.Addr) (all []Route) {
	if p.DefaultRoute() {
		for _, g := range p.GatewaysOf(addresses) {
			all = append(all, Route{To: netip.PrefixFrom(unspecified(FamilyOf(g)), 0), Via: g})
		}
	}
	for _, r := range p.Routes {
		for _, a := range addresses {
			if one, has := p.routeOf(p.CIDROf(a), r); has {
				all = append(all, one)
			}
		}
	}
	return all
}

// routeOf is a route as containers of a CIDR have it, and whether they do.
func (p *Pool) routeOf(cidr netip.Prefix, r Route) (Route, bool) {
	if !cidr.IsValid() || FamilyOf(cidr.Addr()) != FamilyOf(r.To.Addr()) {
		return r, false
	}
	gateway := p.gatewayOf(cidr)
	if !r.Via.IsValid() {
		r.Via = gateway
	}
	return r, r.Via.IsValid() && (r.Via == gateway || cidr.Contains(r.Via))
}

func unspecified(f Family) netip.Addr {
	if f == V4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
