package netops

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A HostAddress is an address of this host on a link.
type HostAddress struct {
	Address netip.Addr
	Index   int // the link's
}

// HostAddresses lists the addresses of this host, except link-local ones.
func (k *Kernel) HostAddresses() (all []HostAddress, err error) {
	var held []rtnl.Address
	err = k.host.With(func(s *rtnl.Socket) (err error) { held, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, 0); return err })
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	for _, a := range held {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
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
