package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
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
	k.bridges.ensuring.Lock() // nothing is given meanwhile
	defer k.bridges.ensuring.Unlock()
	err := k.host.with(func(s *socket) error {
		all, err := links(s)
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.kind == "bridge" {
				gone := func(a address) bool {
					return !keep(a.prefix) && (a.proto == placed || slices.Contains(former, Placed{l.name, a.prefix}))
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

func (k *Kernel) withdraw(s *socket, l link, gone func(address) bool) error {
	held, err := addressesOf(s, unix.AF_UNSPEC, l.index)
	if err != nil || !slices.ContainsFunc(held, gone) {
		return err
	}
	// With a primary address the kernel takes its secondaries away, unless it is told to let one of them take its place.
	_ = within(k.home, func() error { return promoteSecondaries(l.name) })
	for _, a := range held {
		if !gone(a) {
			continue
		}
		drop := dropAddress(l.index, a, fmt.Sprintf("take address %v off %s", a.prefix, l.name))
		if err := s.do(drop); err != nil && !already(drop, err) {
			return err
		}
	}
	left, err := addressesOf(s, unix.AF_UNSPEC, l.index)
	if err != nil {
		return err
	}
	for _, a := range held {
		there := func(b address) bool { return b.prefix == a.prefix }
		if gone(a) || slices.ContainsFunc(left, there) {
			continue
		}
		put := putAddress(l.index, a, fmt.Sprintf("put address %v back on %s", a.prefix, l.name))
		if err := s.do(put); err != nil && !already(put, err) {
			return err
		}
	}
	return nil
}
