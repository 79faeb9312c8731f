package allocator

import (
	"fmt"
	"net/netip"
	"slices"
)

// validGateways wants at most one gateway in each CIDR, and at most one of each family outside of all.
func (p *Pool) validGateways() error {
	seen := map[netip.Prefix]netip.Addr{}
	var beyond [2]netip.Addr
	for _, g := range p.Gateways {
		f, cidr := FamilyOf(g), p.CIDROf(g)
		if !p.Has(f) && g.IsValid() {
			return fmt.Errorf("gateway %s: the pool has no addresses of its family", g)
		}
		if !cidr.IsValid() {
			if err := p.validBeyond(g); err != nil {
				return err
			}
			if beyond[f].IsValid() {
				return fmt.Errorf("gateway %s is the second one of its family outside of the pool, after %s: want one at most", g, beyond[f])
			}
			beyond[f] = g
			continue
		}
		switch {
		case seen[cidr].IsValid():
			return fmt.Errorf("gateway %s is the second one in %s, after %s: want one in each CIDR at most", g, cidr, seen[cidr])
		case g == cidr.Addr() || f == V4 && g == last(cidr):
			return fmt.Errorf("gateway %s is an end of %s, which no host can have: want one between", g, cidr)
		}
		seen[cidr] = g
	}
	for _, g := range beyond {
		if g.IsValid() && len(p.ServedBy(g)) == 0 {
			return fmt.Errorf("gateway %s serves nobody, since each CIDR of its family has a gateway inside of it: leave it out", g)
		}
	}
	return nil
}

// validBeyond is about a gateway outside of the pool.
func (p *Pool) validBeyond(g netip.Addr) error {
	if !p.OnLink || !g.IsValid() {
		return fmt.Errorf("gateway %s lies outside of the pool: want an address in %s, or gatewayOnLink: true where it is on the same "+
			"link all the same", g, words(p.CIDRs, " or "))
	}
	if !g.IsLinkLocalUnicast() && slices.ContainsFunc(unfit[:], func(u netip.Prefix) bool { return u.Contains(g) }) {
		return fmt.Errorf("gateway %s: no router can have this address: want a unicast one, such as 169.254.1.1 or fe80::1", g)
	}
	return nil
}

// validRoutes wants each route to have a router that containers reach, and no container to have two to one place.
func (p *Pool) validRoutes() error {
	for _, r := range p.Routes {
		if err := validPrefix("route", r.To); err != nil {
			return err
		}
		if err := p.validRoute(r); err != nil {
			return err
		}
	}
	for _, cidr := range p.CIDRs {
		seen := make(map[netip.Prefix]bool, len(p.Routes))
		for _, r := range p.Routes {
			if _, has := p.routeOf(cidr, r); !has {
				continue
			}
			if seen[r.To] {
				return fmt.Errorf("route %s is there twice for containers of %s", r.To, cidr)
			}
			seen[r.To] = true
		}
	}
	return nil
}

func (p *Pool) validRoute(r Route) error {
	cidrs := p.CIDRsOf(FamilyOf(r.To.Addr()))
	if len(cidrs) == 0 {
		return fmt.Errorf("route %s: the pool has no addresses of its family", r.To)
	}
	for _, cidr := range cidrs {
		switch _, has := p.routeOf(cidr, r); {
		case has && r.Via.IsValid():
			return nil
		case !has && !r.Via.IsValid():
			return fmt.Errorf("route %s has no via, and the pool no gateway for containers of %s: want one of them", r.To, cidr)
		}
	}
	if r.Via.IsValid() {
		return fmt.Errorf("route %s via %s: want a via in %s", r.To, r.Via, words(cidrs, " or "))
	}
	return nil
}
