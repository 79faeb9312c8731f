package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

const routedPool = `pools:
  - name: default
    mode: routed
    ipMasq: true
    cidrs: [10.43.0.0/16, "fd43::/64"]
    stateful: [10.43.0.0/20, "fd43::/112"]
`

// A terrain is a network of nodes and the mode that a pool needs there.
type terrain struct {
	mode  string
	apart int // lab.Options.Apart
}

// terrains: all nodes on one layer-2 network; each on its own, behind a router; two on one, and the third behind the router.
var terrains = []terrain{{"routed", 0}, {"vxlan", 1}, {"auto", 3}}

// configuration is one of a routed pool, with the mode that this terrain needs.
func (g terrain) configuration(routed string) string {
	return strings.Replace(routed, "mode: routed", "mode: "+g.mode, 1)
}

func (g terrain) lab(t *testing.T, nodes int, routed string) *lab.Lab {
	t.Helper()
	return makeLab(t, lab.Options{Nodes: nodes, IPv6: true, Apart: g.apart}, g.configuration(routed))
}

func routedLab(t *testing.T, nodes int, configuration string) *lab.Lab {
	t.Helper()
	return terrains[0].lab(t, nodes, configuration)
}

// behind is a container of a network without bridges.
func behind(t *testing.T, node *lab.Node, l *lab.Lab, args ...string) *lab.Container {
	t.Helper()
	c, err := node.Container(l.NextID(), lab.Plain(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove() })
	return c
}

func memberBehind(t *testing.T, node *lab.Node, l *lab.Lab, name string) *lab.Container {
	t.Helper()
	return behind(t, node, l, "BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", name)
}

// TestContainersBehindTheirNodes makes one lab for each mode: the promises are those of its subtests.
func TestContainersBehindTheirNodes(t *testing.T) {
	for _, g := range terrains {
		t.Run(g.mode, func(t *testing.T) {
			l := g.lab(t, 3, routedPool)
			t.Run("reach each other, their nodes and the world", func(t *testing.T) { reachAll(t, l) })
			t.Run("are refused at once what nobody has", func(t *testing.T) { refusesWhatNobodyHas(t, l) })
			t.Run("are found by everybody when they move", func(t *testing.T) { followsMoves(t, l) })
		})
	}
}

func reachAll(t *testing.T, l *lab.Lab) {
	var all []*lab.Container
	for i, node := range l.Nodes {
		web, db := behind(t, node, l), memberBehind(t, node, l, fmt.Sprintf("db-%d", i))
		add(t, web)
		add(t, db)
		all = append(all, web, db)
	}
	for _, from := range all {
		if t.Failed() {
			return // each that is not reached takes seconds
		}
		for _, to := range all {
			for _, address := range to.All {
				if from != to {
					reaches(t, from, address)
				}
			}
		}
		for _, node := range l.Nodes {
			reaches(t, from, node.Address)
			reaches(t, from, node.V6)
			for _, address := range from.All {
				if _, err := node.Ping(address); err != nil {
					t.Errorf("%s does not reach %v on %s: %v", node.Name, address, from.Node.Name, err)
				}
			}
		}
		seenOutside(t, from, "udp4", "10.200.0.1", from.Node.Address)
		seenOutside(t, from, "udp6", "fd00:c8::1", from.Node.V6)
		if err := from.Check(t.Context()); err != nil {
			t.Errorf("CHECK of %s: %v", from.ID, err)
		}
	}
}

// seenOutside has a container send to the switch, which sees the address of the container's node and answers that.
func seenOutside(t *testing.T, from *lab.Container, network, outside string, node netip.Addr) {
	t.Helper()
	listener, err := net.ListenUDP(network, &net.UDPAddr{IP: net.ParseIP(outside)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var sender net.Conn
	err = sandbox.Within(from.Netns, func() (err error) { sender, err = net.Dial(network, listener.LocalAddr().String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	labtest.Eventually(t, from.ID+" sends to "+outside+" and is answered", func() error {
		if _, err := sender.Write([]byte("hello")); err != nil {
			return err
		}
		if err := errors.Join(listener.SetDeadline(time.Now().Add(time.Second)), sender.SetDeadline(time.Now().Add(time.Second))); err != nil {
			return err
		}
		_, seen, err := listener.ReadFromUDPAddrPort(make([]byte, 16))
		if err != nil {
			return err
		}
		if seen.Addr() != node {
			t.Errorf("%s is seen as %v: want its node's address %v", from.ID, seen.Addr(), node)
		}
		if _, err := listener.WriteToUDPAddrPort([]byte("hello"), seen); err != nil {
			return err
		}
		_, err = sender.Read(make([]byte, 16))
		return err
	})
}

func refusesWhatNobodyHas(t *testing.T, l *lab.Lab) {
	c := behind(t, l.Nodes[0], l)
	add(t, c)
	err := l.Nodes[0].Within(func() error { _, err := netlink.RouteGet(net.ParseIP("10.43.255.7")); return err })
	if !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("asked for a route the kernel says %v: want that there is none", err)
	}
}

// followsMoves moves a member: the routes of all nodes follow at once.
func followsMoves(t *testing.T, l *lab.Lab) {
	watcher := behind(t, l.Nodes[2], l)
	add(t, watcher)
	for _, node := range l.Nodes { // for its first second a NIC asks for no IPv6 neighbour
		reaches(t, watcher, node.V6)
		if _, err := node.Ping(netip.MustParseAddr("fd00:c8::1")); err != nil {
			t.Error(err)
		}
	}
	var slowest time.Duration
	former := memberBehind(t, l.Nodes[0], l, "moves")
	address := add(t, former)
	for i := range 6 {
		reaches(t, watcher, address)
		del(t, former)
		next := memberBehind(t, l.Nodes[(i+1)%2], l, "moves")
		if got := add(t, next); got != address {
			t.Fatalf("it has %v, and had %v", got, address)
		}
		for _, a := range next.All {
			ping, err := watcher.Ping(a)
			if err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, ping.Took)
		}
		former = next
	}
	t.Logf("the slowest first answer after a move came after %v", slowest)
}

// A node that has lost its right in strict mode is silent, and its member speaks elsewhere.
func TestAStrictMemberBehindItsNodeFallsSilentWithItsRight(t *testing.T) {
	for _, g := range terrains[:2] {
		t.Run(g.mode, func(t *testing.T) { fallsSilent(t, g.lab(t, 3, strings.Replace(strictPool, onePool, routedPool, 1))) })
	}
}

func fallsSilent(t *testing.T, l *lab.Lab) {
	watcher := behind(t, l.Nodes[2], l)
	add(t, watcher)
	former := memberBehind(t, l.Nodes[0], l, "db-0")
	address := add(t, former)
	reaches(t, watcher, address)
	if err := l.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the former container is silent", func() error {
		if former.Unreachable(watcher.Address, 300*time.Millisecond) {
			return nil
		}
		return errors.New("it still reaches others")
	})
	next := memberBehind(t, l.Nodes[1], l, "db-0")
	labtest.Eventually(t, "the member is added elsewhere", func() error { _, err := next.Add(t.Context()); return err })
	reaches(t, watcher, address)
	if err := l.Nodes[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	reaches(t, watcher, address)
	if !former.Unreachable(watcher.Address, time.Second) {
		t.Error("the former container passes again, beside the one that has its address now")
	}
	if _, err := l.Nodes[0].Ping(address); err != nil {
		t.Errorf("the former node does not reach the member where it is now: %v", err)
	}
}

func TestNothingIsLeftOfARoutedPool(t *testing.T) {
	l := routedLab(t, 2, routedPool)
	before := census(t, l)
	all := map[netip.Addr]*lab.Container{}
	for _, node := range l.Nodes {
		c := behind(t, node, l)
		all[add(t, c)] = c
	}
	for _, c := range all {
		del(t, c)
	}
	restores(t, l, before)
	for address, c := range all {
		labtest.Eventually(t, "no route to it is left", func() error {
			return c.Node.Within(func() error {
				routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
				for _, r := range routes {
					if r.Dst != nil && r.Dst.IP.Equal(address.AsSlice()) {
						err = fmt.Errorf("there is %v", r)
					}
				}
				return err
			})
		})
	}
}
