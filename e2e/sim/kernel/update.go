package kernel

import (
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/netops"
)

// Update brings a running port from what it was made of to another MTU, other routes, and other prefix lengths of its addresses.
func (k *Kernel) Update(to, from netops.Port) error {
	return k.do("Update", func() error {
		n, err := k.lan.validate(&to)
		if err != nil {
			return err
		}
		return k.update(n, &to, &from)
	})
}

// without are the routes of all that are not among those.
func without(all, those []netops.Route) []netops.Route {
	return slices.DeleteFunc(slices.Clone(all), func(r netops.Route) bool {
		return slices.ContainsFunc(those, func(x netops.Route) bool { return x.To.Masked() == r.To.Masked() && x.Via == r.Via })
	})
}

func (k *Kernel) update(n *Namespace, to, from *netops.Port) error {
	add, drop, mtu := without(routesOf(to), routesOf(from)), without(routesOf(from), routesOf(to)), 0
	if to.MTU != from.MTU {
		if mtu = to.MTU; mtu == 0 {
			on, err := k.host.links.find(to.Bridge)
			if err != nil {
				return err
			}
			mtu = on.mtu
		}
	}
	if len(add)+len(drop) == 0 && mtu == 0 && slices.Equal(to.Addresses, from.Addresses) {
		return nil
	}
	host, err := k.host.links.find(to.Name)
	if err != nil {
		return err
	}
	if n.ended {
		return fmt.Errorf("enter network namespace %s: it has ended", to.Netns.Name())
	}
	former := host.mtu
	if mtu > former {
		if err := host.setMTU(mtu); err != nil {
			return err
		}
	}
	err = n.carryOut(to, from, host, former, mtu, add, drop)
	switch {
	case err != nil:
		host.mtu = former
	case mtu != 0 && mtu < former:
		err = host.setMTU(mtu)
	}
	return err
}

// carryOut changes the container's end, or nothing. outer is the MTU of the other end, before the update.
func (n *Namespace) carryOut(to, from *netops.Port, host *link, outer, mtu int, add, drop []netops.Route) error {
	fault := func(format string, args ...any) error {
		return &netops.RearrangedError{Interface: to.Interface, What: fmt.Sprintf(format, args...)}
	}
	in := host.peer
	switch {
	case in == nil || in.ns != n:
		return fault("the container's end of port %s has left its network namespace", to.Name)
	case in.name != to.Interface:
		return fault("the container's end of port %s is called %s now", to.Name, in.name)
	}
	for _, a := range to.Addresses {
		if !in.has(a) && len(in.otherwise(a)) == 0 {
			return fault("address %v has left it", a)
		}
	}
	if len(add)+len(drop) > 0 {
		for _, r := range routesOf(from) {
			if n.standing(r, in) == moved {
				return fault("its route to %v was moved to another table (source-based routing, or a VRF)", r.To)
			}
		}
	}
	now, before := in.mtu, Namespace{routes: slices.Clone(n.routes)}
	var err error
	if mtu != 0 && (now == outer || now > mtu) {
		err = in.setMTU(mtu)
	}
	if err == nil {
		err = in.relength(to.Addresses)
	}
	routes := slices.Clone(n.routes) // those of IPv6 may be gone, and do not come back
	if err == nil {
		err = n.reroute(&before, to, in, add, drop)
	}
	if err != nil {
		in.mtu, n.routes = now, routes
	}
	return err
}

// reroute adds what was absent before, and what takes the place of a route that goes; then it takes away what is as it was put.
func (n *Namespace) reroute(before *Namespace, to *netops.Port, in *link, add, drop []netops.Route) error {
	for _, r := range add {
		is := before.standing(r, in)
		replaced := slices.ContainsFunc(drop, func(x netops.Route) bool {
			return x.To.Masked() == r.To.Masked() && before.standing(x, in) == asPut
		})
		if is != absent && (is != overlaid || !replaced) {
			continue
		}
		if err := n.put(to, in, r, false); err != nil {
			return err
		}
	}
	for _, x := range drop {
		if before.standing(x, in) == asPut {
			n.drop(func(r route) bool {
				return r.link == in && r.To == x.To.Masked() && r.Via == x.Via && r.table == mainTable
			})
		}
	}
	return nil
}
