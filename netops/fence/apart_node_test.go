package fence

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// passBridged has what passes the host's bridges pass the rules of IP, too, as kube-proxy needs it, or those of the bridge alone.
func passBridged(t *testing.T, host space, is bool) {
	t.Helper()
	value := map[bool]string{true: "1", false: "0"}[is]
	host.Do(func() error {
		for _, of := range [...]string{"iptables", "ip6tables", "arptables"} {
			switch err := sysctl.Set(value, "/proc/sys/net/bridge/bridge-nf-call-"+of); {
			case errors.Is(err, fs.ErrNotExist) && is:
				t.Skip("this kernel has no br_netfilter")
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
		return nil
	})
}

// A frame tells by its port whether it is for an isolated container of the node, whatever it holds.
func TestAnIsolatedPortSendsAnythingToAPortOfItsBridgeThatIsNot(t *testing.T) {
	k, host := newBridge(t)
	passBridged(t, host, false)
	p, inside := newContainer(t, k, host, 1)
	q, other := newContainer(t, k, host, 2)
	must(t, k.Join(p.isolatedIn("stateless")))
	must(t, k.Separate(ranges("10.42.0.0", "10.42.0.255", "fd42::", "fd42::ffff"))) // as when a container has its address from before
	from, to, self := packets(t, inside, "eth0"), packets(t, other, "eth0"), packets(t, host, "berth0")
	bridge := host.LinkAt("berth0").Attrs().HardwareAddr
	expect := func(may bool) {
		t.Helper()
		for _, f := range []sentFrame{
			{"IPv4", v4FrameTo(q.MAC, p.MAC, "10.42.0.2", "10.42.0.3"), may},
			{"ARP", arpFrame(p.MAC, p.MAC, 1, "10.42.0.2", "10.42.0.3"), may},
			{"IPv6", v6Frame(q.MAC, p.MAC, "fd42::2", "fd42::3", unix.IPPROTO_UDP, udp), may},
			{"a solicitation", v6Frame(everybody, p.MAC, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6, ndMessage(solicitation, "fd42::3", p.MAC)), may},
			{"another protocol", ethernetFrame(q.MAC, p.MAC, 0x88b5, []byte("hello")), may},
		} {
			sentinels++
			last := ethernetFrame(everybody, bridge, 0x88b6, fmt.Appendf(nil, "last %d", sentinels))
			from.send(f.frame)
			self.send(last) // the host reaches both
			if got := to.heardBefore(f.frame, last); got != f.may {
				t.Errorf("%s: that it arrives is %t, want %t", f.what, got, f.may)
			}
		}
	}
	expect(true)
	must(t, k.Restrict(q.isolatedIn("stateless")))
	expect(false)
}

// By a Service that leads to itself a container's packets come back by its own port.
func TestAnIsolatedPortReachesItselfOverItsBridge(t *testing.T) {
	k, host := newBridge(t)
	passBridged(t, host, false)
	p, inside := newContainer(t, k, host, 1)
	must(t, k.Join(p.isolatedIn("stateless")))
	port := host.LinkAt(p.Name)
	host.Do(func() error { return netlink.LinkSetHairpin(port, true) })
	from, to := packets(t, inside, "eth0"), packets(t, inside, "eth0")
	must(t, unix.SetsockoptInt(to.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	for i, f := range []sentFrame{
		{"IPv4", v4FrameTo(p.MAC, p.MAC, "10.42.0.2", "10.42.0.2"), true},
		{"IPv4 to another address", v4FrameTo(p.MAC, p.MAC, "10.42.0.2", "10.42.0.3"), false},
		{"IPv6", v6Frame(p.MAC, p.MAC, "fd42::2", "fd42::2", unix.IPPROTO_UDP, udp), true},
		{"IPv6 to another address", v6Frame(p.MAC, p.MAC, "fd42::2", "fd42::3", unix.IPPROTO_UDP, udp), false},
		{"another protocol", ethernetFrame(p.MAC, p.MAC, 0x88b5, []byte("hello")), false},
	} {
		last := append(v4FrameTo(p.MAC, p.MAC, "10.42.0.2", "10.42.0.2"), fmt.Sprint("last ", i)...)
		if got := to.hearsBefore(from, f.frame, last); got != f.may {
			t.Errorf("%s comes back: %t, want %t", f.what, got, f.may)
		}
	}
}
