package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/netops/l2"
	"github.com/berth-ipam/berth/netops/rtnl"
	"golang.org/x/sys/unix"
)

// MendPorts puts the ports of a bridge back that are off it or down, and tells them where its addresses are.
func (k *Kernel) MendPorts(b Bridge, ports []string) error {
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
			if !slices.Contains(ports, l.Name) || l.Master != 0 && l.Master != bridge.Index || l.Master != 0 && l.Up() {
				continue
			}
			failed = append(failed, s.Do(rtnl.ChangeLink(l.Index, "put "+l.Name+" back", unix.IFF_UP, rtnl.WithMaster(bridge.Index))))
		}
		return errors.Join(failed...)
	})
	if err != nil {
		return fmt.Errorf("netops: mend the ports of bridge %s: %w", b.Name, err)
	}
	k.announceBridge(bridge, b.Addresses)
	return nil
}

// announceBridge tells who is on a bridge its addresses' MAC: it may be another than before.
func (k *Kernel) announceBridge(bridge rtnl.Link, addresses []netip.Prefix) {
	a := l2.Announcement{Netns: k.home, Link: bridge.Name, Addresses: addresses, MAC: bridge.MAC}
	a.Send()
}
