package netops

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// This file gives an address another prefix length while it is in use: its pool's CIDR was replaced by one that contains it. IPv4 has
// the address twice for a moment, so that no packet is lost. IPv6 has no address twice on a link: the former one goes first, and the
// next message of the same socket brings it back.

// otherwise are the addresses among held that are the same as want with another prefix length.
func otherwise(want netip.Prefix, held []rtnl.Address) (all []rtnl.Address) {
	for _, a := range held {
		if a.Prefix.Addr() == want.Addr() && a.Prefix != want {
			all = append(all, a)
		}
	}
	return all
}

// lengthSteps give the container's addresses the prefix lengths that they are to have.
func (c *change) lengthSteps(in *inside) (steps []rtnl.Step) {
	for _, want := range c.to.Addresses {
		if in.has(want) {
			continue
		}
		made := rtnl.PlainAddress(want)
		put := rtnl.Step{
			Do:   rtnl.PutAddress(in.index, made, fmt.Sprintf("add address %v to %s", want, in.name)),
			Undo: rtnl.DropAddress(in.index, made, "undo"),
		}
		var drops []rtnl.Step
		for _, former := range otherwise(want, in.addresses) {
			drops = append(drops, rtnl.Step{
				Do:   rtnl.DropAddress(in.index, former, fmt.Sprintf("take address %v off %s", former.Prefix, in.name)),
				Undo: rtnl.PutAddress(in.index, former, "undo"),
			})
		}
		if want.Addr().Is4() {
			steps = slices.Concat(steps, []rtnl.Step{put}, drops)
		} else {
			steps = append(slices.Concat(steps, drops), put)
		}
	}
	return steps
}

// giveLength gives a bridge an address that it has with another prefix length. Only what Berth gave it goes: another's stays beside it.
func (k *Kernel) giveLength(s *rtnl.Socket, want netip.Prefix, bridge rtnl.Link, held []rtnl.Address, put rtnl.Request) error {
	former := otherwise(want, held)
	goes := func(a rtnl.Address) bool {
		return (a.Proto == rtnl.OurProto || k.forgetful) &&
			slices.ContainsFunc(former, func(f rtnl.Address) bool { return f.Prefix == a.Prefix })
	}
	if want.Addr().Is4() {
		if err := s.Ensure(put); err != nil {
			return err
		}
		return k.withdraw(s, bridge, goes)
	}
	if err := k.withdraw(s, bridge, goes); err != nil {
		return err
	}
	return s.Ensure(put)
}
