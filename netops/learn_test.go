package netops

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Frames to link-local groups pass nftables' hooks by. A container that sends such a frame from another's MAC is not to get what is
// sent to the other.
func TestABridgeLearnsNoMACFromFramesToLinkLocalGroups(t *testing.T) {
	for name, make := range map[string]func(){
		"made": func() {},
		"another's": func() {
			must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "berth0"}}))
		},
	} {
		k, host := newHost(t)
		host.Do(func() error { make(); return nil })
		_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")})
		must(t, err)
		p, inside := newContainer(t, k, 1)
		stranger := net.HardwareAddr{2, 0, 0, 0, 0, 0x66}
		frame := slices.Concat([]byte{1, 0x80, 0xc2, 0, 0, 0xe}, stranger, []byte{0x88, 0xcc}, []byte("a frame of LLDP")) // IEEE 802.1AB
		inside.Do(func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: named(t, "eth0").Attrs().Index})
		})
		if !hears(t, inside, host, p.Gateways[0], patience) {
			t.Errorf("%s: nothing passes", name)
		}
		time.Sleep(silence)
		host.Do(func() error {
			all, err := netlink.NeighList(0, unix.AF_BRIDGE)
			for _, n := range all {
				if slices.Equal(n.HardwareAddr, stranger) {
					t.Errorf("%s: the bridge has learnt the frame's MAC", name)
				}
			}
			return err
		})
	}
}
