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
