package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/l2"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// RepairPorts restores the ports of a bridge that are off it, down, or not hairpin, and announces its addresses to them.
func (k *Kernel) RepairPorts(b Bridge, ports []string) error {
	var bridge rtnl.Link
	err := k.host.With(func(s *rtnl.Socket) (err error) {
		if bridge, err = rtnl.LinkNamed(s, b.Name); err != nil {
			return err
		}
		all, err := rtnl.Links(s)
		if err != nil {
			return err
		}
		var failed []error
		for _, l := range all {
			if !slices.Contains(ports, l.Name) || l.Master != 0 && l.Master != bridge.Index || l.Master != 0 && l.Up() && l.Hairpin {
				continue
			}
			failed = append(failed, s.Do(
				rtnl.ChangeLink(l.Index, "put "+l.Name+" back", unix.IFF_UP, rtnl.WithMaster(bridge.Index)),
				rtnl.ChangeLink(l.Index, "make "+l.Name+" hairpin", 0, rtnl.AsHairpin())))
		}
		return errors.Join(failed...)
	})
	if err != nil {
		return fmt.Errorf("netops: repair the ports of bridge %s: %w", b.Name, err)
	}
	k.announceBridge(bridge, b.Addresses)
	return nil
}

// announceBridge announces the MAC of a bridge's addresses to its ports: it may have changed.
func (k *Kernel) announceBridge(bridge rtnl.Link, addresses []netip.Prefix) {
	a := l2.Announcement{Netns: k.home, Link: bridge.Name, Addresses: addresses, MAC: bridge.MAC}
	a.Send()
}
