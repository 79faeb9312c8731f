package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/sandbox"
)

func TestNodesApartReachEachOtherAndEtcdByTheRouterAlone(t *testing.T) {
	l := newLabOf(t, Options{IPv6: true, Apart: 2}, 3)
	for _, a := range l.Nodes {
		must(t, l.Etcd.Members[0].Answers(t.Context()), a.Asks(t.Context(), l.Etcd.Members[0]))
		for _, b := range l.Nodes {
			for _, to := range b.addresses() {
				if _, err := a.Ping(to); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for _, n := range l.Nodes[1:] { // the first has etcd beside it
		must(t, n.Within(func() error {
			known, err := netlink.NeighList(0, netlink.FAMILY_V4)
			for _, each := range known {
				if router := routerOf(n.Address).Addr().String(); each.State&netlink.NUD_NOARP == 0 && each.IP.String() != router {
					t.Errorf("%s has the neighbour %v beside its router %s", n.Name, each, router)
				}
			}
			return err
		}))
	}
}

// What comes from an address that the router knows no way to is dropped there, as a container's of a routed pool is.
func TestTheRouterPassesNothingOfAPool(t *testing.T) {
	l := newLabOf(t, Options{IPv6: true, Apart: 1}, 2)
	a, b := l.Nodes[0], l.Nodes[1]
	pool := netip.MustParsePrefix("10.43.0.7/32")
	must(t, sandbox.Within(b.netns, func() error {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(pool)})
	}))
	if _, err := pingFrom(a.netns, pool.Addr(), 500*time.Millisecond); err == nil {
		t.Errorf("%v is reached: the router has a way to the pool", pool)
	}
}

func TestANodeBehindTheRouterIsNotCutOffInTheSwitch(t *testing.T) {
	l := newLabOf(t, Options{Apart: 2}, 2)
	err := l.Partition(Side{"n1"}, Side{"n2"})
	if err == nil || !strings.Contains(err.Error(), "unplug it instead") {
		t.Errorf("the cut says %v: want that n2 is behind the router", err)
	}
	must(t, l.Nodes[1].Unplug())
	if _, err := pingFrom(l.Nodes[0].netns, l.Nodes[1].Address, 3*pingEvery); err == nil {
		t.Error("a node without its cable answers")
	}
	must(t, l.Heal())
	if _, err := l.Nodes[0].Ping(l.Nodes[1].Address); err != nil {
		t.Error(err)
	}
}
