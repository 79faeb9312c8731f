package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/nettest"
	"github.com/berth-ipam/berth/netops/sysctl"
)

func TestMain(m *testing.M) { nettest.Main(m) }

type space = nettest.Space

var (
	newSpace, cable, newStream = nettest.NewSpace, nettest.Cable, nettest.NewStream
	must, mentions             = nettest.Must, nettest.Mentions
	prefixes, hears            = nettest.Prefixes, nettest.Hears
)

const patience, silence = nettest.Patience, nettest.Silence

// openIn opens the table of a namespace.
func openIn(t testing.TB, host space) *Table {
	t.Helper()
	k, err := Open(host.Open(), &Senders{})
	must(t, err)
	t.Cleanup(k.Close)
	return k
}

// newHost opens a table in a fresh namespace.
func newHost(t testing.TB) (*Table, space) {
	t.Helper()
	host := newSpace(t)
	return openIn(t, host), host
}

// newBridge opens a table in a fresh namespace with a bridge "berth0" that has the gateways' addresses.
func newBridge(t testing.TB) (*Table, space) {
	t.Helper()
	k, host := newHost(t)
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "berth0"}, MulticastSnooping: &off}
	host.Do(func() error {
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	host.Give("berth0", "10.42.0.1/16", "fd42::1/64")
	return k, host
}

// A port is a link on the bridge, called as the table's ports are, with a container at its other end.
type port struct {
	Name      string
	MAC       net.HardwareAddr // of the container
	Addresses []netip.Prefix
}

// in is the port as a member of a class, which sends from its own MAC and addresses.
func (p port) in(class string) Member {
	m := Member{Port: p.Name, Class: class, MAC: p.MAC}
	for _, a := range p.Addresses {
		m.Addresses = append(m.Addresses, a.Addr())
	}
	return m
}

// anyone is a member that may send what it likes.
func anyone(port, class string) Member { return Member{Port: port, Class: class, Trusted: true} }

// newPort makes the nth port, in no class.
func newPort(t testing.TB, host space, n int) (port, space) {
	t.Helper()
	inside := newSpace(t)
	p := port{Name: fmt.Sprint(PortPrefix, n), Addresses: prefixes(fmt.Sprintf("10.42.0.%d/16", n+1), fmt.Sprintf("fd42::%x/64", n+1))}
	cable(t, host, p.Name, inside, "eth0")
	p.MAC = inside.LinkAt("eth0").Attrs().HardwareAddr
	host.Enslave(p.Name, "berth0")
	for _, a := range p.Addresses {
		inside.Give("eth0", a.String())
	}
	t.Cleanup(func() { host.Do(func() error { return removeLink(p.Name) }) })
	return p, inside
}

// newRoutedPort makes the nth port, on no bridge and in no class, to which the host routes.
func newRoutedPort(t testing.TB, host space, n int) (port, space) {
	t.Helper()
	inside := newSpace(t)
	p := port{Name: fmt.Sprint(PortPrefix, n), Addresses: prefixes(fmt.Sprintf("10.43.%d.2/24", n), fmt.Sprintf("fd43:%x::2/64", n))}
	cable(t, host, p.Name, inside, "eth0")
	host.Give(p.Name, fmt.Sprintf("10.43.%d.1/24", n), fmt.Sprintf("fd43:%x::1/64", n))
	for _, a := range p.Addresses {
		inside.Give("eth0", a.String())
	}
	t.Cleanup(func() { host.Do(func() error { return removeLink(p.Name) }) })
	return p, inside
}

// removeLink takes a link away that may have gone.
func removeLink(name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return nil
	}
	return netlink.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}})
}

// newContainer makes the nth port, in class stateless.
func newContainer(t testing.TB, k *Table, host space, n int) (port, space) {
	t.Helper()
	p, inside := newPort(t, host, n)
	must(t, k.Join(p.in("stateless")))
	return p, inside
}

// forwarding has a host forward packets.
func forwarding(host space) {
	host.Do(func() error {
		return errors.Join(sysctl.Set("1", sysctl.V4, "all", "forwarding"), sysctl.Set("1", sysctl.V6, "all", "forwarding"))
	})
}

// routeBy gives a namespace default routes.
func routeBy(s space, gateways ...string) {
	s.Do(func() error {
		for _, g := range gateways {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(g)}); err != nil {
				return err
			}
		}
		return nil
	})
}
