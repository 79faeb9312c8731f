package nettest

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

// Cable joins two namespaces by a veth pair, both ends up.
func Cable(t testing.TB, a Space, nameA string, b Space, nameB string) {
	t.Helper()
	peer := b.Open()
	a.Do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(peer.Fd())}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return netlink.LinkSetUp(veth)
	})
	b.Do(func() error {
		link, err := netlink.LinkByName(nameB)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
}

// NewSwitch joins cables: plug makes a cable from a namespace to it.
func NewSwitch(t testing.TB) (plug func(s Space, name string)) {
	t.Helper()
	sw := NewSpace(t)
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}, MulticastSnooping: &off}
	sw.Do(func() error {
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	n := 0
	return func(s Space, name string) {
		t.Helper()
		n++
		port := fmt.Sprint("port", n)
		Cable(t, sw, port, s, name)
		sw.Do(func() error {
			link, err := netlink.LinkByName(port)
			if err != nil {
				return err
			}
			return netlink.LinkSetMaster(link, bridge)
		})
	}
}
