package netops

import (
	"errors"
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Update brings a running port from what it was made of to another MTU, other routes, and other prefix lengths of its addresses. It
// changes only what differs between the two, and only what is the port's; a new route is there before the one whose place it takes is
// gone. MAC and bridge stay, and so do the addresses themselves. After an error all is as it was. It is idempotent. A
// *RearrangedError says that it cannot be done to this container, now or later.
func (k *Kernel) Update(to, from Port) error {
	err := to.validate()
	if err == nil {
		err = k.host.With(func(s *rtnl.Socket) error { return k.update(s, &to, &from) })
	}
	if err != nil {
		return fmt.Errorf("netops: update %s: %w", to.Name, err)
	}
	return nil
}

// A change is what an update is to do in a container: routes to be added, routes to be taken away, an MTU, if it is not 0, and whether
// its addresses may need other prefix lengths.
type change struct {
	add, drop []Route
	lengths   bool
	mtu       int
	to, from  *Port
}

// changeOf compares what a port is to be with what it was made of.
func changeOf(s *rtnl.Socket, to, from *Port) (c change, err error) {
	c.to, c.from = to, from
	wanted, former := to.routes(), from.routes()
	c.add = without(wanted, former)
	c.drop = without(former, wanted)
	c.lengths = !slices.Equal(to.Addresses, from.Addresses)
	if to.MTU == from.MTU {
		return c, nil
	}
	if c.mtu = to.MTU; c.mtu == 0 {
		bridge, err := bridgeOf(s, to)
		if err != nil {
			return c, err
		}
		c.mtu = bridge.MTU
	}
	return c, nil
}

func without(all, those []Route) []Route {
	return slices.DeleteFunc(slices.Clone(all), func(r Route) bool {
		return slices.ContainsFunc(those, func(x Route) bool { return x.To.Masked() == r.To.Masked() && x.Via == r.Via })
	})
}

func (k *Kernel) update(s *rtnl.Socket, to, from *Port) error {
	c, err := changeOf(s, to, from)
	if err != nil || len(c.add)+len(c.drop) == 0 && c.mtu == 0 && !c.lengths {
		return err
	}
	host, err := rtnl.LinkNamed(s, to.Name)
	if err != nil {
		return err
	}
	outer := func(mtu int) error {
		return s.Do(rtnl.ChangeLink(host.Index, "set MTU of "+to.Name, 0, rtnl.WithMTU(mtu)))
	}
	// Neither end may send what the other does not take.
	if c.mtu > host.MTU {
		if err := outer(c.mtu); err != nil {
			return err
		}
	}
	err = rtnl.Within(to.Netns, func() error { return c.carryOut(to, from, host) })
	switch {
	case err != nil && c.mtu > host.MTU:
		return errors.Join(err, outer(host.MTU))
	case err == nil && c.mtu != 0 && c.mtu < host.MTU:
		return outer(c.mtu)
	}
	return err
}

// carryOut runs in the container's namespace.
func (c *change) carryOut(to, from *Port, host rtnl.Link) error {
	s, err := rtnl.OpenSocket()
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := look(s, to, host)
	if err != nil {
		return err
	}
	if err := in.rearranged(to); err != nil {
		return err
	}
	if err := c.moved(&in, from); err != nil {
		return err
	}
	return rtnl.CarryOut(s, slices.Concat(c.mtuSteps(&in, host), c.lengthSteps(&in), c.routeSteps(&in)))
}

// moved refuses a change of routes where another has moved those that were put: what was added beside them would not be
// used.
func (c *change) moved(in *inside, from *Port) error {
	if len(c.add)+len(c.drop) == 0 {
		return nil
	}
	for _, r := range from.routes() {
		if standingOf(r, in.index, in.routes) == moved {
			return &RearrangedError{from.Interface, fmt.Sprintf(
				"its route to %v was moved to another table (source-based routing, or a VRF)", r.To)}
		}
	}
	return nil
}

// mtuSteps set the MTU of the container's end, unless it was changed to another that fits.
func (c *change) mtuSteps(in *inside, host rtnl.Link) []rtnl.Step {
	if c.mtu == 0 || in.link.MTU != host.MTU && in.link.MTU <= c.mtu {
		return nil
	}
	set := func(mtu int, what string) rtnl.Request {
		return rtnl.ChangeLink(in.index, what, 0, rtnl.WithMTU(mtu))
	}
	return []rtnl.Step{{Do: set(c.mtu, "set MTU of "+in.name), Undo: set(in.link.MTU, "undo")}}
}

// routeSteps add what is absent, and what takes the place of a route that goes; then they take away what is as it was put.
func (c *change) routeSteps(in *inside) (steps []rtnl.Step) {
	replaced := func(r Route) bool {
		return slices.ContainsFunc(c.drop, func(x Route) bool {
			return x.To.Masked() == r.To.Masked() && standingOf(x, in.index, in.routes) == asPut
		})
	}
	for _, r := range c.add {
		is := standingOf(r, in.index, in.routes)
		if is != absent && (is != overlaid || !replaced(r)) {
			continue
		}
		put := putWay(c.to, in.index, r, fmt.Sprintf("add route to %v via %v", r.To, r.Via))
		put.Appending() // behind the one whose place it takes
		steps = append(steps, rtnl.Step{Do: put, Undo: rtnl.RemoveRoute(in.index, r.To, r.Via, "undo")})
	}
	for _, r := range c.drop {
		if standingOf(r, in.index, in.routes) == asPut {
			undo := putWay(c.from, in.index, r, "undo")
			undo.Appending()
			remove := rtnl.RemoveRoute(in.index, r.To, r.Via, fmt.Sprintf("remove route to %v via %v", r.To, r.Via))
			steps = append(steps, rtnl.Step{Do: remove, Undo: undo})
		}
	}
	return steps
}
