package allocator

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

func TestEachCIDRHasItsOwnPrefixEndsBlocksAndGateway(t *testing.T) {
	p := several()
	if got := p.CIDRsOf(V4); !slices.Equal(got, []netip.Prefix{prefix("10.43.0.0/24"), prefix("10.44.0.0/24"), prefix("10.45.0.0/24")}) {
		t.Errorf("the CIDRs of IPv4 are %v", got)
	}
	for a, usable := range map[string]bool{
		"10.43.0.0": false, "10.43.0.255": false, "10.44.0.0": false, "10.44.0.255": false, "10.45.0.255": false,
		"10.43.0.1": false, "10.44.0.1": true, "10.43.0.254": true, "10.45.0.7": false, "10.45.0.8": true, "10.46.0.1": false,
	} {
		if got := p.Usable(addr(a)); got != usable {
			t.Errorf("usable(%s) is %v", a, got)
		}
	}
	if got, want := p.UsableCount(V4), uint64(3*254-1-6-7); got != want {
		t.Errorf("%d usable addresses, want %d", got, want)
	}
	wide := Pool{CIDRs: []netip.Prefix{prefix("10.1.0.0/16"), prefix("10.2.0.0/23")}}
	for a, want := range map[string]string{"10.1.3.4": "10.1.3.4/16", "10.2.1.4": "10.2.1.4/23", "10.3.0.1": "10.3.0.1/32"} {
		if got := wide.Prefix(addr(a)); got != prefix(want) {
			t.Errorf("%s is configured as %v, want %s", a, got, want)
		}
	}
}

func TestAContainerHasTheGatewaysAndRoutesOfItsOwnCIDRs(t *testing.T) {
	p := several()
	v6 := []Route{{prefix("::/0"), addr("fd00:43::1")}, {prefix("fd01::/16"), addr("fd00:43::1")}}
	for _, c := range []struct {
		addresses, gateways []netip.Addr
		routes              []Route
	}{
		{[]netip.Addr{addr("10.43.0.77"), addr("fd00:43::77")}, []netip.Addr{addr("10.43.0.1"), addr("fd00:43::1")},
			[]Route{{prefix("0.0.0.0/0"), addr("10.43.0.1")}, v6[0], v6[1], {prefix("10.0.0.0/8"), addr("10.43.0.1")}}},
		{[]netip.Addr{addr("10.44.0.77")}, nil, []Route{{prefix("10.0.0.0/8"), addr("10.44.0.2")}}},
		{[]netip.Addr{addr("10.45.0.77")}, nil, nil},
		{[]netip.Addr{addr("fd00:43::77")}, []netip.Addr{addr("fd00:43::1")}, v6},
		{[]netip.Addr{addr("10.99.0.77")}, nil, nil}, // of no CIDR
	} {
		if got := p.GatewaysOf(c.addresses); !slices.Equal(got, c.gateways) {
			t.Errorf("%v: the gateways are %v, want %v", c.addresses, got, c.gateways)
		}
		if got := p.RoutesOf(c.addresses); !reflect.DeepEqual(got, c.routes) {
			t.Errorf("%v: the routes are %v, want %v", c.addresses, got, c.routes)
		}
	}
	beyond := addr("192.0.2.1")
	p.OnLink, p.Gateways = true, append(p.Gateways, beyond)
	if a, b := p.GatewayOf(addr("10.44.0.77")), p.GatewayOf(addr("10.43.0.77")); a != beyond || b != addr("10.43.0.1") {
		t.Errorf("with a gateway outside of the pool the gateways are %v and %v", a, b)
	}
	if got := p.ServedBy(beyond); !slices.Equal(got, []netip.Prefix{prefix("10.45.0.0/24"), prefix("10.44.0.0/24")}) {
		t.Errorf("the gateway outside of the pool serves %v", got)
	}
}

func TestBlocksAndMembersAreSpreadOverAllCIDRs(t *testing.T) {
	p := several()
	p.Exclude = nil
	in := map[netip.Prefix]int{}
	used := map[netip.Prefix]bool{}
	for {
		b, ok := p.PickBlock(V4, 30, func(b netip.Prefix) bool { return used[b] })
		if !ok {
			break
		}
		used[b] = true
		in[p.CIDROf(b.Addr())]++
	}
	if want := map[netip.Prefix]int{prefix("10.43.0.0/24"): 16, prefix("10.44.0.0/24"): 12}; !reflect.DeepEqual(in, want) {
		t.Errorf("blocks are in %v, want %v", in, want)
	}
	taken := map[netip.Addr]bool{}
	for {
		a, ok := p.PickStateful(V4, Identity{Member: "db-0"}, func(a netip.Addr) bool { return taken[a] })
		if !ok {
			break
		}
		taken[a] = true
	}
	if len(taken) != 63+254 {
		t.Errorf("%d addresses for members, want %d", len(taken), 63+254)
	}
}

func TestASpaceTakesPartsOfEveryCIDRAndOfACIDRThatIsAdded(t *testing.T) {
	p := several()
	s := NewSpace(&p, V4)
	for part, want := range map[string]int{"10.43.0.0/28": 16, "10.45.0.16/28": 16, "10.46.0.0/28": 0, "fd00:43::/124": 0} {
		if got := s.Add(prefix(part), false); got != want {
			t.Errorf("%s: %d addresses were added, want %d", part, got, want)
		}
	}
	p.CIDRs = append(p.CIDRs, prefix("10.46.0.0/24"))
	s.Configure(&p)
	if got := s.Add(prefix("10.46.0.0/28"), false); got != 16 {
		t.Errorf("of the new CIDR %d addresses were added", got)
	}
	if counts := s.Counts(); counts != (Counts{Free: 8 + 16 + 15, Excluded: 8 + 1}) {
		t.Errorf("counts are %+v", counts)
	}
}
