package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// A Placed address is one that the host has on a bridge.
type Placed struct {
	Bridge string
	Prefix netip.Prefix
}

// Withdraw takes off this host's bridges what EnsureBridge gave them and keep does not want any more. What others gave a
// bridge stays: the kernel remembers who gave an address (IFA_PROTO, Linux 5.18). Former ones are taken off, too, for
// kernels that do not.
func (k *Kernel) Withdraw(keep func(netip.Prefix) bool, former ...Placed) error {
	defer k.bridges.alone()()
	err := k.host.With(func(s *rtnl.Socket) error {
		all, err := rtnl.Links(s)
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.Kind == "bridge" {
				gone := func(a rtnl.Address) bool {
					return !keep(a.Prefix) && (a.Proto == rtnl.OurProto || slices.Contains(former, Placed{l.Name, a.Prefix}))
				}
				err = errors.Join(err, k.withdraw(s, l, gone))
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("netops: withdraw addresses: %w", err)
	}
	return nil
}

func (k *Kernel) withdraw(s *rtnl.Socket, l rtnl.Link, gone func(rtnl.Address) bool) error {
	held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, l.Index)
	if err != nil || !slices.ContainsFunc(held, gone) {
		return err
	}
	// With a primary address the kernel takes its secondaries away, unless it is told to let one of them take its place.
	_ = rtnl.Within(k.home, func() error { return k.settings.Set("1", sysctl.V4, l.Name, "promote_secondaries") })
	for _, a := range held {
		if !gone(a) {
			continue
		}
		drop := rtnl.DropAddress(l.Index, a, fmt.Sprintf("take address %v off %s", a.Prefix, l.Name))
		if err := s.Ensure(drop); err != nil {
			return err
		}
	}
	left, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, l.Index)
	if err != nil {
		return err
	}
	for _, a := range held {
		there := func(b rtnl.Address) bool { return b.Prefix == a.Prefix }
		if gone(a) || slices.ContainsFunc(left, there) {
			continue
		}
		put := rtnl.PutAddress(l.Index, a, fmt.Sprintf("put address %v back on %s", a.Prefix, l.Name))
		if err := s.Ensure(put); err != nil {
			return err
		}
	}
	return nil
}
