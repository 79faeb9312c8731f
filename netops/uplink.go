package netops

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// findUplink looks the NIC up that is to be the bridge's port; none is wanted: the zero link. One that was its port already
// may have been renamed since; a name that never was one is an error.
func findUplink(s *rtnl.Socket, b Bridge, was bool) (rtnl.Link, error) {
	if b.Uplink == "" {
		return rtnl.Link{}, nil
	}
	nic, err := rtnl.LinkNamed(s, b.Uplink)
	if errors.Is(err, unix.ENODEV) && was {
		nic, err = uplinkOf(s, b.Name)
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		return nic, fmt.Errorf("uplink %s does not exist: want a NIC of this host", b.Uplink)
	case err != nil:
		return nic, err
	case nic.MTU < b.MTU:
		return nic, fmt.Errorf("uplink %s has MTU %d: want at least the bridge's, %d", b.Uplink, nic.MTU, b.MTU)
	}
	return nic, nil
}

// Uplink is the name of a bridge's uplink, as the kernel shows it: the port whose MAC the bridge has. None, or no such bridge:
// empty.
func (k *Kernel) Uplink(bridge string) (name string, err error) {
	err = k.host.With(func(s *rtnl.Socket) error {
		nic, err := uplinkOf(s, bridge)
		name = nic.Name
		return err
	})
	if errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("netops: the uplink of bridge %s: %w", bridge, err)
	}
	return name, nil
}

// uplinkOf finds the port whose MAC the bridge has, under any name; unix.ENODEV: there is none.
func uplinkOf(s *rtnl.Socket, name string) (nic rtnl.Link, err error) {
	bridge, err := rtnl.LinkNamed(s, name)
	if err != nil {
		return nic, err
	}
	all, err := rtnl.Links(s)
	if err != nil {
		return nic, err
	}
	for _, l := range all {
		if isUplink(&l, &bridge) {
			return l, nil
		}
	}
	return nic, unix.ENODEV
}

func isUplink(l, bridge *rtnl.Link) bool {
	return l.Master == bridge.Index && l.MAC.String() == bridge.MAC.String() && !strings.HasPrefix(l.Name, Prefix)
}
