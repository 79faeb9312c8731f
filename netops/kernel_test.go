package netops

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// newHost opens a kernel on a fresh namespace.
func newHost(t testing.TB) (*Kernel, space) {
	t.Helper()
	s := newSpace(t)
	var k *Kernel
	s.Do(func() (err error) { k, err = Open(); return err })
	t.Cleanup(k.Close)
	return k, s
}

// newBridge opens a kernel on a fresh namespace with a bridge "berth0" that has the gateways' addresses.
func newBridge(t testing.TB) (*Kernel, space) {
	t.Helper()
	k, s := newHost(t)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")})
	must(t, err)
	return k, s
}

// newPort is a port for a fresh container, its nth.
func newPort(t testing.TB, n int) (Port, space) {
	t.Helper()
	s := newSpace(t)
	return Port{
		Name:      PortName("net", fmt.Sprint("container", n), "eth0"),
		Alias:     fmt.Sprint("net/container", n, "/eth0"),
		Bridge:    "berth0",
		Netns:     s.Open(),
		Interface: "eth0",
		Addresses: prefixes(fmt.Sprintf("10.42.%d.%d/16", n/250, n%250+2), fmt.Sprintf("fd42::%x/64", n+2)),
		Gateways:  []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42::1")},
	}, s
}

// member is a port in a class, which sends from its own MAC and addresses.
func member(p Port, class string) Member {
	m := Member{Port: p.Name, Class: class, MAC: p.mac()}
	for _, a := range p.Addresses {
		m.Addresses = append(m.Addresses, a.Addr())
	}
	return m
}

// newContainer is an attached port in class stateless.
func newContainer(t testing.TB, k *Kernel, n int) (Port, space) {
	t.Helper()
	p, s := newPort(t, n)
	_, err := k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateless")))
	return p, s
}

// named is a link of this thread's namespace.
func named(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return &netlink.Dummy{}
	}
	return l
}

func addr(text string) *netlink.Addr {
	a, err := netlink.ParseAddr(text)
	if err != nil {
		panic(err)
	}
	return a
}
