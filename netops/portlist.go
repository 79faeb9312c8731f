package netops

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Ports lists the ports of this host, by their names.
func (k *Kernel) Ports() ([]PortInfo, error) {
	var all []rtnl.Link
	err := k.host.With(func(s *rtnl.Socket) (err error) { all, err = rtnl.Links(s); return err })
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.Index] = l.Name
	}
	var ports []PortInfo
	for _, l := range all {
		if strings.HasPrefix(l.Name, Prefix) {
			ports = append(ports, PortInfo{Name: l.Name, Alias: l.Words(), Bridge: names[l.Master], Index: l.Index})
		}
	}
	return ports, nil
}

// HasPort reports whether the host has a link of that name. If the kernel cannot be asked it reports true, because absence is
// evidence on which addresses are given to others.
func (k *Kernel) HasPort(name string) bool {
	err := k.host.With(func(s *rtnl.Socket) error { _, err := rtnl.LinkNamed(s, name); return err })
	return !errors.Is(err, unix.ENODEV)
}
