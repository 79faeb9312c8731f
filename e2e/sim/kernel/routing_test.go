package kernel

import (
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/berth-ipam/berth/netops"
)

func TestAHostKeepsTheRoutesWhoseHopsItReaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewLAN(t.TempDir()).Host("h1")
		must(t, h.SetAddress("eth0", netip.MustParsePrefix("192.0.2.1/24"), true))
		k := open(t, h)
		near, far := netip.MustParsePrefix("10.50.0.0/26"), netip.MustParsePrefix("10.50.0.64/26")
		want := netops.Routing{Pools: []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}, Hops: map[netip.Prefix]netops.Hop{
			near: {Via: netip.MustParseAddr("192.0.2.2")}, far: {Via: netip.MustParseAddr("198.51.100.2")},
		}}
		refused, err := k.SetRouting(want)
		must(t, err)
		if len(refused) != 1 || refused[0].To != far || !refused[0].OffLink {
			t.Errorf("refused are %+v: want %v alone", refused, far)
		}
		delete(want.Hops, far)
		if got := h.Routes(); !maps.Equal(got.Hops, want.Hops) || len(got.Pools) != 1 {
			t.Errorf("the routes are %+v", got)
		}
		h.FlushRoutes()
		refused, err = k.ChangeHops(map[netip.Prefix]netops.Hop{far: {}, near: {Via: netip.MustParseAddr("192.0.2.3")}})
		must(t, err)
		want.Hops[near] = netops.Hop{Via: netip.MustParseAddr("192.0.2.3")}
		if got := h.Routes(); len(refused) != 0 || !maps.Equal(got.Hops, want.Hops) {
			t.Errorf("refused are %+v, the routes are %+v", refused, got)
		}
	})
}

func TestAHostTunnelsToWhatItsLinksDoNotReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewLAN(t.TempDir()).Host("h1")
		own := netip.MustParsePrefix("192.0.2.1/24")
		must(t, h.SetAddress("eth0", own, true))
		k := open(t, h)
		far4, far6 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8::2")
		a, b, c := netip.MustParsePrefix("10.50.0.0/26"), netip.MustParsePrefix("10.50.0.64/26"), netip.MustParsePrefix("10.50.0.128/26")
		want := netops.Routing{
			Pools: []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}, Locals: []netip.Addr{own.Addr()},
			Hops: map[netip.Prefix]netops.Hop{a: {Via: far4, Way: netops.Nearest}, b: {Via: far4}, c: {Via: far6, Way: netops.Tunnel}},
		}
		refused, err := k.SetRouting(want)
		must(t, err)
		if len(refused) != 2 || refused[0].To != b || refused[1].To != c || !refused[0].OffLink || refused[1].OffLink {
			t.Errorf("refused are %+v: want the direct one, and the one from whose family the host has no address", refused)
		}
		for tunnelled, mtu := range map[bool]int{false: 1500, true: 1450} {
			if got, err := k.(*Kernel).PathMTU(tunnelled); err != nil || got != mtu {
				t.Errorf("the path MTU is %d, %v: want %d", got, err, mtu)
			}
		}
	})
}
