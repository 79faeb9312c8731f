package allocator

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestACIDROnlyGrowsAndABlockSizeNeverChanges(t *testing.T) {
	for _, c := range []struct {
		words  string
		change func(*Pool)
	}{
		{"its CIDR 10.43.0.0/24 cannot become 10.43.0.0/25, which is a part of it: a CIDR only grows",
			func(p *Pool) { p.CIDRs[0] = prefix("10.43.0.0/25") }},
		{"cannot become 10.43.0.0/25", func(p *Pool) { p.CIDRs = append(p.CIDRs[1:], prefix("10.43.0.0/25"), prefix("10.43.0.128/25")) }},
		{"blockSize v6 cannot change from 124 to 122", func(p *Pool) { p.BlockSize.V6 = 122 }},
	} {
		p := dual()
		c.change(&p)
		if err := ValidateChange(dual(), p); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("got error %v, want one with %q", err, c.words)
		}
	}
	for _, change := range []func(*Pool){
		func(p *Pool) { p.CIDRs[0], p.CIDRs[1] = p.CIDRs[1], p.CIDRs[0] },
		func(p *Pool) { p.Exclude, p.MTU, p.Stateful = nil, 9000, nil },
		func(p *Pool) { p.CIDRs[0] = prefix("10.43.0.0/23") },
		func(p *Pool) { p.CIDRs[0] = prefix("10.42.0.0/15") },
		func(p *Pool) { p.CIDRs = append(p.CIDRs, prefix("10.44.0.0/24")) },
		func(p *Pool) { p.CIDRs, p.BlockSize.V6 = p.CIDRs[:1], 120 },
	} {
		p := dual()
		change(&p)
		if err := ValidateChange(dual(), p); err != nil {
			t.Error(err)
		}
	}
	v4 := smallest()
	v4.BlockSize.V6 = 120 // of a family that the pool does not have
	if err := ValidateChange(smallest(), v4); err != nil {
		t.Error(err)
	}
}

func TestTheFormerEndsOfACIDRThatGrowsAreKnown(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     []netip.Addr
	}{
		{"10.1.0.0/24", "10.1.0.0/24", nil},
		{"10.1.0.0/24", "10.1.0.0/23", []netip.Addr{addr("10.1.0.255")}},
		{"10.1.1.0/24", "10.1.0.0/23", []netip.Addr{addr("10.1.1.0")}},
		{"10.1.1.0/24", "10.1.0.0/22", []netip.Addr{addr("10.1.1.0"), addr("10.1.1.255")}},
		{"10.1.1.0/24", "10.2.0.0/24", nil},
		{"fd00::/64", "fd00::/48", nil},
		{"fd00:0:0:1::/64", "fd00::/48", []netip.Addr{addr("fd00:0:0:1::")}},
	} {
		old, new := Pool{CIDRs: []netip.Prefix{prefix(c.from)}}, Pool{CIDRs: []netip.Prefix{prefix(c.to)}}
		if got := FormerEnds(&old, &new); !slices.Equal(got, c.want) {
			t.Errorf("from %s to %s: %v, want %v", c.from, c.to, got, c.want)
		}
		for _, end := range c.want {
			if old.Usable(end) || !new.Usable(end) {
				t.Errorf("from %s to %s: %s does not become usable", c.from, c.to, end)
			}
		}
		old.Mode, new.Mode = Routed, Routed
		if got := FormerEnds(&old, &new); len(got) > 0 {
			t.Errorf("in a routed pool %v are ends", got)
		}
	}
}

func TestWhatIsGoneIsWhatNoLargerCIDRHas(t *testing.T) {
	old, new := several(), several()
	new.CIDRs = []netip.Prefix{prefix("10.44.0.0/15"), prefix("10.43.0.0/24")}
	if got := Gone(&old, &new); !slices.Equal(got, []netip.Prefix{prefix("fd00:43::/64")}) {
		t.Errorf("gone are %v", got)
	}
}

func TestNothingIsAllocatedOfADrainingCIDR(t *testing.T) {
	p := several()
	p.DrainingCIDRs = []netip.Prefix{prefix("10.44.0.0/24"), prefix("fd00:43::/64")}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := p.Giving(); !slices.Equal(got, []Family{V4}) {
		t.Errorf("a container is given addresses of %v", got)
	}
	if p.Usable(addr("10.44.0.77")) || !p.Usable(addr("10.43.0.77")) || !p.Drains(addr("10.44.0.77")) || p.Drains(addr("10.43.0.77")) {
		t.Error("a draining CIDR gives addresses, or another one does not")
	}
	if got, ok := p.PickBlock(V6, 7, func(netip.Prefix) bool { return false }); ok {
		t.Errorf("block %s is claimed of a draining CIDR", got)
	}
	if a, ok := p.PickStateful(V4, Identity{}, func(a netip.Addr) bool { return prefix("10.45.0.0/24").Contains(a) }); ok {
		t.Errorf("%s is reserved of a draining CIDR", a)
	}
	if got := p.UsableCountIn(prefix("10.44.0.0/24")); got != 0 {
		t.Errorf("%d addresses of a draining CIDR are usable", got)
	}
	p.DrainingCIDRs = append(p.DrainingCIDRs, prefix("10.46.0.0/24"))
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "cidr 10.46.0.0/24 is to drain, and is none of the pool's") {
		t.Errorf("the error is %v", err)
	}
}

func TestOfADrainingCIDRNothingIsKeptForAnApp(t *testing.T) {
	p := several()
	s := NewSpace(&p, V4)
	s.Add(prefix("10.44.0.64/28"), false)
	a := take(t, s, web, 0)
	b := take(t, s, web, 0)
	s.Release(a, web, 1, 0)
	p.DrainingCIDRs = []netip.Prefix{prefix("10.44.0.0/24")}
	s.Configure(&p)
	if !s.Holds(b) {
		t.Errorf("%s is taken from who has it", b)
	}
	if _, outcome := s.Allocate(web, 2, true); outcome != Exhausted {
		t.Errorf("allocating is %v", outcome)
	}
	s.Release(b, web, 2, time.Second)
	if got := s.Idle(2); slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Contains(b) }) {
		t.Errorf("idle are %v, and %s is quarantined", got, b)
	}
	if got := s.Idle(2 + time.Second); !slices.Equal(got, s.Parts()) {
		t.Errorf("idle are %v of %v", got, s.Parts())
	}
}
