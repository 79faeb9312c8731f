package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
)

func TestAWiringFollowsTheCIDRsThatItsAddressesLieIn(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	pool := &allocator.Pool{
		CIDRs:    []netip.Prefix{prefix("10.42.0.0/23"), prefix("10.44.0.0/24"), prefix("fd42::/64")},
		Gateways: []netip.Addr{addr("10.42.0.1"), addr("10.44.0.1"), addr("fd42::1")},
	}
	e := &journal.Entry{Addresses: []netip.Addr{addr("10.44.0.7"), addr("10.99.0.7")}}
	e.Wiring = journal.Wiring{Port: "bth1", Bridge: "berth0", Prefixes: []netip.Prefix{prefix("10.44.0.7/25"), prefix("10.99.0.7/20")}}
	w := Rewired(e, pool)
	if want := []netip.Prefix{prefix("10.44.0.7/24"), prefix("10.99.0.7/20")}; !slices.Equal(w.Prefixes, want) {
		t.Errorf("the prefixes are %v, want %v: what lies in no CIDR stays as it was", w.Prefixes, want)
	}
	if want := []netip.Addr{addr("10.44.0.1")}; !slices.Equal(w.Gateways, want) || len(w.Routes) != 1 {
		t.Errorf("the gateways are %v, the routes %v", w.Gateways, w.Routes)
	}
	if p := Port(e, pool); !slices.Equal(p.Addresses, e.Wiring.Prefixes) {
		t.Errorf("until it is brought to the configuration the port is to have %v", p.Addresses)
	}
	e.Wiring.Prefixes = nil // of an older release
	if p := Port(e, pool); p.Addresses[0] != prefix("10.44.0.7/24") {
		t.Errorf("the port is to have %v", p.Addresses)
	}
	b := Bridge(w, pool)
	if want := []netip.Prefix{prefix("10.42.0.1/23"), prefix("10.44.0.1/24"), prefix("fd42::1/64")}; !slices.Equal(b.Addresses, want) {
		t.Errorf("the bridge is to have %v", b.Addresses)
	}
	pool.Mode, pool.Gateways, e.Wiring.Routed = allocator.Routed, nil, true
	if w := Rewired(e, pool); w.Prefixes != nil {
		t.Errorf("a routed interface is to have %v", w.Prefixes)
	}
}
