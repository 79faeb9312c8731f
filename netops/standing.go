package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// This file decides for ADD, CHECK and update what in a container belongs to a port: its interface, the addresses on it, and
// the routes that were put over it. All else belongs to others: further interfaces, existing routes to a destination, and what
// a chained plugin or the container itself has changed.

// A standing is the state of one of a container's routes in its kernel.
type standing int

const (
	absent   standing = iota // nothing leads there
	asPut                    // it is there as it was put
	moved                    // it leads over the interface, from another table: source-based routing, or a VRF
	overlaid                 // something else leads there, which stays: another interface's route, or another's over this one
)

// standingOf is the standing of a route over the link of an index, among the container's routes.
func standingOf(want Route, index int, held []rtnl.Route) standing {
	is := absent
	for _, r := range held {
		same := r.Index == index && r.Via == want.Via
		switch {
		case r.To != want.To.Masked():
		case same && r.Table == unix.RT_TABLE_MAIN:
			return asPut
		case same:
			is = moved
		case r.Table == unix.RT_TABLE_MAIN && is == absent:
			is = overlaid
		}
	}
	return is
}

// An inside is what the kernel has in a container.
type inside struct {
	link      rtnl.Link // that has the port's interface name; index 0: there is none
	name      string    // that the port's end has; empty: it is in another namespace
	index     int       // of the port's end
	addresses []rtnl.Address
	routes    []rtnl.Route
}

// look reads a container's state through a socket of its namespace. host is the port's other end.
func look(s *rtnl.Socket, p *Port, host rtnl.Link) (in inside, err error) {
	if in.link, err = present(s, p.Interface); err != nil {
		return in, err
	}
	if host.Index != 0 && in.link.Peer == host.Index && host.Peer == in.link.Index {
		in.name, in.index = p.Interface, in.link.Index
	} else if host.Index != 0 {
		if in.name, in.index, err = otherEnd(s, host); err != nil {
			return in, err
		}
	}
	if in.addresses, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, in.link.Index); err != nil {
		return in, err
	}
	in.routes, err = rtnl.Routes(s)
	return in, err
}

// present looks a link up; one that does not exist has no index.
func present(s *rtnl.Socket, name string) (rtnl.Link, error) {
	l, err := rtnl.LinkNamed(s, name)
	if errors.Is(err, unix.ENODEV) {
		return rtnl.Link{}, nil
	}
	return l, err
}

// otherEnd finds the container's end of a port under any name.
func otherEnd(s *rtnl.Socket, host rtnl.Link) (name string, index int, err error) {
	all, err := rtnl.Links(s)
	for _, l := range all {
		if l.Kind == "veth" && l.Peer == host.Index && l.Index == host.Peer {
			return l.Name, l.Index, err
		}
	}
	return "", 0, err
}

func (in *inside) has(want netip.Prefix) bool {
	return in.link.Index != 0 && slices.ContainsFunc(in.addresses, func(a rtnl.Address) bool { return a.Prefix == want })
}

// rearranged is why a port's interface cannot be changed any more; nil: it can.
func (in *inside) rearranged(p *Port) error {
	fault := func(format string, args ...any) error {
		return &RearrangedError{p.Interface, fmt.Sprintf(format, args...)}
	}
	switch {
	case in.index == 0:
		return fault("the container's end of port %s has left its network namespace", p.Name)
	case in.name != p.Interface:
		return fault("the container's end of port %s is called %s now", p.Name, in.name)
	}
	for _, a := range p.Addresses {
		if !in.has(a) && len(otherwise(a, in.addresses)) == 0 {
			return fault("address %v has left it", a)
		}
	}
	return nil
}
