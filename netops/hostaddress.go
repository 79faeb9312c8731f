package netops

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A HostAddress is an address of this host on a link.
type HostAddress struct {
	Address netip.Addr
	Index   int // the link's
}

// HostAddresses lists the addresses of this host, except link-local ones, and those that tunnels have besides its links.
func (k *Kernel) HostAddresses() (all []HostAddress, err error) {
	var held []rtnl.Address
	var devices []int
	err = k.host.With(func(s *rtnl.Socket) (err error) {
		if held, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, 0); err == nil {
			devices, err = tunnelIndexes(s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	for _, a := range held {
		if !a.Prefix.Addr().IsLinkLocalUnicast() && !slices.Contains(devices, a.Index) {
			all = append(all, HostAddress{a.Prefix.Addr(), a.Index})
		}
	}
	return all, nil
}

// LinkName is the name of a link of this host.
func (k *Kernel) LinkName(index int) (name string, err error) {
	var l rtnl.Link
	err = k.host.With(func(s *rtnl.Socket) (err error) { l, err = rtnl.LinkAt(s, index); return err })
	if err != nil {
		return "", fmt.Errorf("netops: %w", err)
	}
	return l.Name, nil
}
