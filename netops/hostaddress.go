package netops

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A HostAddress is one that this host has on a link.
type HostAddress struct {
	Address netip.Addr
	Index   int // the link's
}

// HostAddresses lists the addresses that this host has on its links, but for link-local ones.
func (k *Kernel) HostAddresses() (all []HostAddress, err error) {
	err = k.host.with(func(s *socket) error {
		return s.dump(unix.RTM_GETADDR, "list addresses", func() { all = nil }, func(_ uint16, body []byte) {
			if a, index := parseAddress(body); !a.prefix.Addr().IsLinkLocalUnicast() {
				all = append(all, HostAddress{a.prefix.Addr(), index})
			}
		}, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	})
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	return all, nil
}

// LinkName is the name of a link of this host.
func (k *Kernel) LinkName(index int) (name string, err error) {
	err = k.host.with(func(s *socket) error {
		return s.get(func(_ uint16, body []byte) { name = parseLink(body).name },
			ask(unix.RTM_GETLINK, 0, fmt.Sprint("look up link ", index), ifInfo(index, 0)))
	})
	if err != nil {
		return "", fmt.Errorf("netops: %w", err)
	}
	return name, nil
}
