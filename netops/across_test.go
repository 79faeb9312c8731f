package netops

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/netops/l2"
)

// twoHosts are two hosts whose bridges share one network.
func twoHosts(t *testing.T) (k [2]*Kernel, hosts [2]space) {
	t.Helper()
	plug := newSwitch(t)
	for i := range k {
		k[i], hosts[i] = newCabledHost(t, plug, i+1)
		_, err := k[i].EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"})
		must(t, err)
	}
	return k, hosts
}

// newFlatPort is a port that needs no gateway.
func newFlatPort(t *testing.T, n int) (Port, space) {
	t.Helper()
	p, s := newPort(t, n)
	p.Gateways = nil
	return p, s
}

func TestContainersReachEachOtherAcrossHosts(t *testing.T) {
	k, _ := twoHosts(t)
	var ports [2]Port
	var inside [2]space
	for i := range ports {
		ports[i], inside[i] = newFlatPort(t, i)
		_, err := k[i].Attach(ports[i])
		must(t, err)
		must(t, k[i].Join(member(ports[i], "stateless")))
		k[i].Announce(ports[i])
	}
	for _, a := range ports[1].Addresses {
		if !hears(t, inside[0], inside[1], a.Addr(), patience) {
			t.Errorf("%v is not reached across", a)
		}
	}
}

func TestAnAnnouncementTellsNeighboursOfAMovedAddress(t *testing.T) {
	k, _ := twoHosts(t)
	watcher, inWatcher := newFlatPort(t, 0)
	_, err := k[0].Attach(watcher)
	must(t, err)
	must(t, k[0].Join(member(watcher, "stateless")))

	place := func(host int, mac byte) (Port, space) {
		t.Helper()
		p, inside := newFlatPort(t, 1)
		p.MAC = net.HardwareAddr{2, 0, 0, 0, 0, mac}
		_, err := k[host].Attach(p)
		must(t, err)
		must(t, k[host].Join(member(p, "stateful")))
		return p, inside
	}
	p, inside := place(0, 1)
	for _, a := range p.Addresses {
		if !hears(t, inWatcher, inside, a.Addr(), patience) {
			t.Fatalf("%v is not reached before the move", a)
		}
	}
	must(t, k[0].Detach(p.Name))
	p, inside = place(1, 2)
	k[1].Announce(p)
	for _, a := range p.Addresses {
		// Nothing is sent that could make the watcher ask.
		eventually(t, "the watcher learns of "+a.String(), func() bool {
			return neighbour(t, inWatcher, a.Addr()) == p.MAC.String()
		})
		if !hears(t, inWatcher, inside, a.Addr(), patience) {
			t.Errorf("%v is not reached after the move", a)
		}
	}
}

// neighbour is the link-layer address that a namespace has for an address.
func neighbour(t *testing.T, s space, a netip.Addr) (mac string) {
	t.Helper()
	s.Do(func() error {
		family := netlink.FAMILY_V4
		if a.Is6() {
			family = netlink.FAMILY_V6
		}
		all, err := dump.Whole(func() ([]netlink.Neigh, error) {
			return netlink.NeighList(named(t, "eth0").Attrs().Index, family)
		})
		for _, n := range all {
			if got, _ := netip.AddrFromSlice(n.IP); got.Unmap() == a {
				mac = n.HardwareAddr.String()
			}
		}
		return err
	})
	return mac
}

func TestAnAnnouncementIsMadeTwice(t *testing.T) {
	k, _ := newBridge(t)
	k.announcer.Apart = time.Millisecond
	everything := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	p, _ := newContainer(t, k, 1)
	_, inWatcher := newContainer(t, k, 2)
	fd := -1
	inWatcher.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, everything)
		return err
	})
	defer unix.Close(fd)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	k.Announce(p)
	want := map[string]int{}
	for _, a := range p.Addresses {
		want[string(l2.AnnouncementFrame(a.Addr(), p.mac()))] = 2
	}
	for len(want) > 0 {
		b := make([]byte, 2000)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			t.Fatalf("%d kinds of announcement are missing: %v", len(want), err)
		}
		frame := string(b[:n])
		if want[frame]--; want[frame] <= 0 {
			delete(want, frame)
		}
	}
}

func TestAnAnnouncementDoesNotKeepADetachedContainersNamespace(t *testing.T) {
	k, _ := newBridge(t)
	p, inside := newContainer(t, k, 1)
	id, err := k.WatchNamespace(p.Netns)
	must(t, err)
	k.announcer.Apart = time.Hour
	k.Announce(p)
	must(t, k.Detach(p.Name))
	vanish(t, p, inside)
	if e := next(t, k, NamespaceGone); e.NamespaceID != id {
		t.Errorf("event %+v", e)
	}
}

func TestAKernelThatIsClosedIsUsedByNoAnnouncement(t *testing.T) {
	k, _ := newHost(t)
	k.announcer.Apart = time.Nanosecond
	for i := range 50 {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		k.Announce(Port{Name: fmt.Sprint(Prefix, i), Netns: ns, Interface: "lo", Bridge: "lo"})
		ns.Close()
	}
	k.Close() // the race detector tells
}
