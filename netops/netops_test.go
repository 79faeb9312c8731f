package netops

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/vishvananda/netlink"
)

// The first thread must not end: the runtime keeps it, and with it the namespace that it was in last.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var namespaces atomic.Int64

// A space is a network namespace of a test's own.
type space struct {
	t    testing.TB
	path string
}

func newSpace(t testing.TB) space {
	t.Helper()
	s := space{t, fmt.Sprintf("/run/netns/t%d", namespaces.Add(1))}
	must(t, sandbox.Namespace(s.path))
	t.Cleanup(func() { _ = sandbox.Remove(s.path) })
	return s
}

// do runs f inside, and ends the test on an error.
func (s space) do(f func() error) {
	s.t.Helper()
	must(s.t, sandbox.Within(s.path, f))
}

func (s space) open() *os.File {
	s.t.Helper()
	f, err := os.Open(s.path)
	must(s.t, err)
	s.t.Cleanup(func() { f.Close() })
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, with a deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// newHost opens a kernel on a fresh namespace.
func newHost(t testing.TB) (*Kernel, space) {
	t.Helper()
	s := newSpace(t)
	var k *Kernel
	s.do(func() (err error) { k, err = Open(); return err })
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

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// newPort is a port for a fresh container, its nth.
func newPort(t testing.TB, n int) (Port, space) {
	t.Helper()
	s := newSpace(t)
	return Port{
		Name:      PortName("net", fmt.Sprint("container", n), "eth0"),
		Alias:     fmt.Sprint("net/container", n, "/eth0"),
		Bridge:    "berth0",
		Netns:     s.open(),
		Interface: "eth0",
		Addresses: prefixes(fmt.Sprintf("10.42.%d.%d/16", n/250, n%250+2), fmt.Sprintf("fd42::%x/64", n+2)),
		Gateways:  []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42::1")},
	}, s
}

// newContainer is an attached port in class stateless.
func newContainer(t testing.TB, k *Kernel, n int) (Port, space) {
	t.Helper()
	p, s := newPort(t, n)
	_, err := k.Attach(p)
	must(t, err)
	must(t, k.Join(p.Name, "stateless"))
	return p, s
}

// linkAt is a link inside; none: nil.
func (s space) linkAt(name string) (found netlink.Link) {
	s.t.Helper()
	s.do(func() error {
		link, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		found = link
		return err
	})
	return found
}

// links lists the names of a namespace's links.
func (s space) links() (names []string) {
	s.t.Helper()
	s.do(func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			names = append(names, l.Name)
		}
		return err
	})
	return names
}

// hears reports whether a datagram from one namespace arrives at an address of another within the time.
func hears(t testing.TB, from, to space, at netip.Addr, within time.Duration) bool {
	t.Helper()
	_, ok := arrival(t, from, to, at, within)
	return ok
}

// arrival sends datagrams to an address of another namespace, until one arrives or the time is over, and tells by
// which source address it came.
func arrival(t testing.TB, from, to space, at netip.Addr, within time.Duration) (source netip.Addr, ok bool) {
	t.Helper()
	var server, client *net.UDPConn
	to.do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	defer server.Close()
	from.do(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	defer client.Close()
	must(t, server.SetReadDeadline(time.Now().Add(within)))
	arrived := make(chan netip.Addr, 1)
	go func() {
		_, peer, _ := server.ReadFromUDPAddrPort(make([]byte, 16))
		arrived <- peer.Addr().Unmap()
	}()
	for {
		_, _ = client.Write([]byte("hello"))
		select {
		case source := <-arrived:
			return source, source.IsValid()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const (
	patience = time.Minute            // for what is to arrive
	silence  = 200 * time.Millisecond // for what is not
)

// cable joins two namespaces by a veth pair, both ends up.
func cable(t testing.TB, a space, nameA string, b space, nameB string) {
	t.Helper()
	peer := b.open()
	a.do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(peer.Fd())}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return netlink.LinkSetUp(veth)
	})
	b.do(func() error {
		link, err := netlink.LinkByName(nameB)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
}

// newSwitch joins cables: plug makes a cable from a namespace to it.
func newSwitch(t testing.TB) (plug func(s space, name string)) {
	t.Helper()
	sw := newSpace(t)
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}, MulticastSnooping: &off}
	sw.do(func() error {
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		return netlink.LinkSetUp(bridge)
	})
	n := 0
	return func(s space, name string) {
		t.Helper()
		n++
		port := fmt.Sprint("port", n)
		cable(t, sw, port, s, name)
		sw.do(func() error {
			link, err := netlink.LinkByName(port)
			if err != nil {
				return err
			}
			return netlink.LinkSetMaster(link, bridge)
		})
	}
}

func mentions(err error, words ...string) bool {
	if err == nil {
		return false
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}

// enslave makes a link a bridge's port.
func (s space) enslave(link, bridge string) {
	s.t.Helper()
	l, b := s.linkAt(link), s.linkAt(bridge)
	s.do(func() error { return netlink.LinkSetMaster(l, b) })
}

// give adds addresses to a link; those of IPv6 are usable at once.
func (s space) give(link string, addresses ...string) {
	s.t.Helper()
	l := s.linkAt(link)
	s.do(func() error {
		sock, err := openSocket()
		if err != nil {
			return err
		}
		defer sock.close()
		for _, a := range prefixes(addresses...) {
			if err := sock.do(putAddress(l.Attrs().Index, plain(a), "give")); err != nil {
				return err
			}
		}
		return nil
	})
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
