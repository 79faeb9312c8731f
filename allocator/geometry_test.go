package allocator

import (
	"encoding/json"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAPoolKnowsItsOwn(t *testing.T) {
	p := dual()
	v4Only := smallest()
	if got := v4Only.Families(); !slices.Equal(got, []Family{V4}) {
		t.Errorf("families are %v, want v4", got)
	}
	if got := p.Families(); !slices.Equal(got, []Family{V4, V6}) {
		t.Errorf("families are %v, want both", got)
	}
	if v4Only.Has(V6) || len(v4Only.CIDRsOf(V6)) > 0 || v4Only.UsableCount(V6) != 0 {
		t.Error("a pool of IPv4 has something of IPv6")
	}
	for _, c := range []struct{ got, want any }{
		{p.Prefix(addr("10.43.0.77")), prefix("10.43.0.77/24")},
		{p.Prefix(addr("fd00:43::77")), prefix("fd00:43::77/64")},
		{p.BlockOf(addr("10.43.0.77")), prefix("10.43.0.64/28")},
		{p.BlockOf(addr("fd00:43::5:77")), prefix("fd00:43::5:70/124")},
		{p.BlockOf(addr("10.44.0.1")), netip.Prefix{}},
		{v4Only.BlockOf(addr("fd00:43::")), netip.Prefix{}},
		{p.GatewayOf(addr("fd00:43::77")), addr("fd00:43::1")},
		{p.GatewayOf(addr("fd00:44::77")), netip.Addr{}},
		{v4Only.GatewayOf(addr("fd00:43::77")), netip.Addr{}},
		{p.CIDROf(addr("10.43.0.77")), prefix("10.43.0.0/24")},
		{p.CIDROf(addr("10.44.0.77")), netip.Prefix{}},
		{p.Prefix(addr("10.44.0.77")), prefix("10.44.0.77/32")},
		{p.HasUsable(prefix("10.43.0.0/31")), false}, // network and gateway
		{p.HasUsable(prefix("10.43.0.2/32")), true},
		{p.HasUsable(prefix("10.43.0.4/30")), false}, // excluded, as are the next two
		{p.HasUsable(prefix("10.43.0.8/30")), true},
		{p.HasUsable(prefix("10.43.0.254/31")), true},
		{p.HasUsable(prefix("10.43.0.255/32")), false},
		{p.HasUsable(prefix("fd00:43::/120")), false},
		{p.HasUsable(prefix("fd00:43::/119")), true},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestAGatewayMakesADefaultRouteUnlessThePoolSaysNo(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		said *bool
		want bool
	}{{nil, true}, {&yes, true}, {&no, false}} {
		p := dual()
		if p.Default = c.said; p.DefaultRoute() != c.want {
			t.Errorf("default route is %t, want %t", p.DefaultRoute(), c.want)
		}
	}
}

func TestDefaultsTakeThePlaceOfWhatIsZeroAndOfNothingElse(t *testing.T) {
	if p, want := (Pool{}).WithDefaults(), (Pool{
		BlockSize: BlockSize{V4: DefaultBlockV4, V6: DefaultBlockV6}, Reuse: DefaultReuse, Cooldown: DefaultCooldown,
	}); !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, want %+v", p, want)
	}
	own := Pool{BlockSize: BlockSize{V4: 30, V6: 126}, Reuse: 1, Cooldown: 2}
	if p := own.WithDefaults(); !reflect.DeepEqual(p, own) {
		t.Errorf("got %+v, want %+v", p, own)
	}
}

func TestCountsSaturate(t *testing.T) {
	small, whole := Range{addr("fd00::"), addr("fd00::5")}, Range{addr("fd00::"), addr("fd00::ffff:ffff:ffff:ffff")}
	for _, c := range []struct {
		ranges []Range
		want   uint64
	}{
		{[]Range{small}, 6},
		{[]Range{whole}, math.MaxUint64},
		{[]Range{{addr("fd00::"), addr("fd00:0:0:1::5")}}, math.MaxUint64},
		{[]Range{small, small}, 12},
		{[]Range{whole, small}, math.MaxUint64},
	} {
		if got := countUnits(c.ranges, 0); got != c.want {
			t.Errorf("%v have %d addresses, want %d", c.ranges, got, c.want)
		}
	}
}

func TestWhatIsNotAContainersIsNotUsable(t *testing.T) {
	p := dual()
	for a, usable := range map[string]bool{
		"10.43.0.0":              false, // network
		"10.43.0.1":              false, // gateway
		"10.43.0.2":              true,
		"10.43.0.4":              false, // excluded
		"10.43.0.9":              false,
		"10.43.0.10":             true,
		"10.43.0.64":             true, // a block's first
		"10.43.0.254":            true,
		"10.43.0.255":            false, // broadcast
		"10.43.1.0":              false, // outside
		"fd00:43::":              false, // subnet-router anycast
		"fd00:43::ff":            false, // excluded
		"fd00:43::100":           true,
		"fd00:43::1:0:0:0":       true,
		"fd00:43:0:1::1":         false,
		"::ffff:10.43.0.2":       false,
		"fd00:43::100%eth0":      false,
		"fd00:43::ffff:ffff:fff": true,
	} {
		if got := p.Usable(addr(a)); got != usable {
			t.Errorf("usable(%s) is %v", a, got)
		}
	}
	for f, want := range map[Family]uint64{V4: 256 - 3 - 6, V6: math.MaxUint64 - 255} {
		if got := p.UsableCount(f); got != want {
			t.Errorf("%d usable addresses of %v, want %d", got, f, want)
		}
	}
	p = routed() // its containers are in no subnet
	for a, usable := range map[string]bool{
		"10.43.0.0":              true,
		"10.43.0.1":              true,
		"10.43.0.4":              false, // excluded
		"10.43.0.255":            true,
		"10.43.1.0":              false,
		"fd00:43::":              false, // excluded
		"fd00:43::100":           true,
		"fd00:43::ffff:ffff:fff": true,
		"169.254.1.1":            false,
		"fe80::1":                false,
	} {
		if got := p.Usable(addr(a)); got != usable {
			t.Errorf("in a routed pool usable(%s) is %v", a, got)
		}
	}
	p.Former = []netip.Addr{addr("10.43.0.1"), addr("fd00:43::1")} // of the time when it was flat
	if got := p.UsableCount(V4); got != 256-1-6 {
		t.Errorf("in a routed pool %d usable addresses, want %d", got, 256-1-6)
	}
	if p.Exclude = nil; !p.Usable(addr("fd00:43::")) || !p.HasUsable(prefix("10.43.0.255/32")) {
		t.Error("a routed pool has an end that cannot be used")
	}
	wide := Pool{Name: "wide", CIDRs: []netip.Prefix{prefix("fd00::/8")}}.WithDefaults()
	if got := wide.UsableCount(V6); got != math.MaxUint64 {
		t.Errorf("%d usable addresses in a /8 of IPv6, want %d", got, uint64(math.MaxUint64))
	}
}

func TestNoBlockIsPickedWhereNothingIsUsable(t *testing.T) {
	p := Pool{
		Name:      "narrow",
		CIDRs:     []netip.Prefix{prefix("10.0.0.0/28")},
		Gateways:  []netip.Addr{addr("10.0.0.1")},
		Stateful:  []netip.Prefix{prefix("10.0.0.8/30")},
		Exclude:   []Range{ranged("10.0.0.2-10.0.0.3")},
		BlockSize: BlockSize{V4: 30},
	}.WithDefaults()
	want := []netip.Prefix{prefix("10.0.0.4/30"), prefix("10.0.0.12/30")}
	for start := range uint64(5) {
		var got []netip.Prefix
		for {
			b, ok := p.PickBlock(V4, start, func(b netip.Prefix) bool { return slices.Contains(got, b) })
			if !ok {
				break
			}
			got = append(got, b)
		}
		if got[0] != want[start%2] || len(got) != 2 {
			t.Errorf("from %d: picked %v, want the two of %v from the one there on", start, got, want)
		}
	}
	if b, ok := p.PickBlock(V6, 0, func(netip.Prefix) bool { return false }); ok {
		t.Errorf("picked %v of a family that the pool does not have", b)
	}
}

func TestAMembersPositionIsItsOwn(t *testing.T) {
	p, positions := smallest(), map[netip.Addr]bool{}
	for _, member := range []string{"db-0", "db-1", "db-2", "db-3"} {
		id := Identity{"shop", "db", member, "net", "eth0"}
		a, _ := p.PickStateful(V4, id, func(netip.Addr) bool { return false })
		again, _ := p.PickStateful(V4, id, func(netip.Addr) bool { return false })
		if a != again {
			t.Errorf("%v was given %v and then %v", id, a, again)
		}
		positions[a] = true
	}
	if a, ok := p.PickStateful(V6, Identity{}, func(netip.Addr) bool { return false }); ok {
		t.Errorf("given is %v of a family that the pool does not have", a)
	}
	if len(positions) < 3 {
		t.Errorf("four members begin at %d positions", len(positions))
	}
	a, _ := p.PickStateful(V4, Identity{"a", "bc", "d", "n", "eth0"}, func(netip.Addr) bool { return false })
	b, _ := p.PickStateful(V4, Identity{"ab", "c", "d", "n", "eth0"}, func(netip.Addr) bool { return false })
	if a == b {
		t.Error("names run into each other in the hash")
	}
}

// The oracle asks about each address by itself.
func TestPicksAgreeWithCountingOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f := drawPool(t)
		var usable, stateful []netip.Addr
		blocks := map[netip.Prefix]bool{}
		for a := range addresses(p) {
			switch {
			case !p.Usable(a):
				continue
			case p.InStateful(a):
				stateful = append(stateful, a)
			default:
				blocks[p.BlockOf(a)] = true
			}
			usable = append(usable, a)
		}
		if got := p.UsableCount(f); got != uint64(len(usable)) {
			t.Fatalf("%d usable addresses, want %d", got, len(usable))
		}
		in := uint64(0)
		for _, c := range p.CIDRs {
			in += p.UsableCountIn(c)
		}
		if in != uint64(len(usable)) {
			t.Fatalf("its CIDRs have %d usable addresses, want %d", in, len(usable))
		}
		if got := p.StatelessCount(f); got != uint64(len(usable)-len(stateful)) {
			t.Fatalf("%d stateless addresses, want %d", got, len(usable)-len(stateful))
		}
		picked := map[netip.Prefix]bool{}
		for {
			asked := 0
			b, ok := p.PickBlock(f, rapid.Uint64().Draw(t, "start"), func(b netip.Prefix) bool { asked++; return picked[b] })
			if !ok {
				if asked != len(blocks) {
					t.Fatalf("asked %d times whether one of %d blocks is used", asked, len(blocks))
				}
				break
			}
			if picked[b] || !blocks[b] {
				t.Fatalf("picked %v, which is used, stateful or without a usable address", b)
			}
			picked[b] = true
		}
		if len(picked) != len(blocks) {
			t.Fatalf("picked %d of %d blocks", len(picked), len(blocks))
		}
		taken := map[netip.Addr]bool{}
		id := Identity{Member: rapid.String().Draw(t, "member")}
		for range stateful {
			a, ok := p.PickStateful(f, id, func(a netip.Addr) bool { return taken[a] })
			if !ok || taken[a] || !slices.Contains(stateful, a) {
				t.Fatalf("picked %v (%v), which is taken or not a usable stateful address", a, ok)
			}
			taken[a] = true
		}
		if a, ok := p.PickStateful(f, id, func(a netip.Addr) bool { return taken[a] }); ok {
			t.Fatalf("picked %v where all are taken", a)
		}
	})
}

// addresses are those of a pool's CIDRs, one by one, in the CIDRs' order.
func addresses(p *Pool) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, c := range p.CIDRs {
			for a := c.Addr(); c.Contains(a); a = a.Next() {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// drawPool makes a valid pool of one family in blocks of 4 to 64, with the 256 addresses of one CIDR, or with fewer in up to four,
// which are apart or next to each other, in any order.
func drawPool(t *rapid.T) (*Pool, Family) {
	f := Family(rapid.IntRange(0, 1).Draw(t, "family"))
	cidr := [...]netip.Prefix{prefix("10.0.1.0/24"), prefix("fd00::ff00/120")}[f]
	cidrs := []netip.Prefix{cidr}
	if rapid.Bool().Draw(t, "several") {
		lower, upper := halves(cidr)
		third, fourth := halves(upper)
		cidrs = rapid.Permutation([]netip.Prefix{lower, third, fourth}).Draw(t, "cidrs")[:rapid.IntRange(1, 3).Draw(t, "how many")]
	}
	bits := addressBits(f) - rapid.IntRange(2, 6).Draw(t, "block")
	at := rapid.Custom(func(t *rapid.T) netip.Addr {
		return Range{From: cidr.Addr()}.unit(rapid.Uint64Range(0, 255).Draw(t, "offset"), 0)
	})
	p := Pool{Name: "p", CIDRs: cidrs, BlockSize: BlockSize{V4: bits, V6: bits}, Gateways: []netip.Addr{at.Draw(t, "gateway")}}
	if rapid.Bool().Draw(t, "routed") {
		p.Mode, p.Gateways, p.Former = Routed, nil, p.Gateways
	}
	for range rapid.IntRange(0, 4).Draw(t, "exclusions") {
		a, b := at.Draw(t, "end"), at.Draw(t, "end")
		if b.Less(a) {
			a, b = b, a
		}
		p.Exclude = append(p.Exclude, Range{a, b})
	}
	for range rapid.IntRange(0, 3).Draw(t, "stateful ranges") {
		s := netip.PrefixFrom(at.Draw(t, "stateful"), bits-rapid.IntRange(0, 2).Draw(t, "size")).Masked()
		if in := p.CIDROf(s.Addr()); in.IsValid() && s.Bits() >= in.Bits() && !slices.ContainsFunc(p.Stateful, s.Overlaps) {
			p.Stateful = append(p.Stateful, s)
		}
	}
	return &p, f
}

// FuzzAnyPoolIsRefusedOrServes reads a pool as etcd or a file might hold it.
func FuzzAnyPoolIsRefusedOrServes(f *testing.F) {
	for _, p := range []Pool{smallest(), dual(), routed()} {
		text, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, uint64(5), "db-0")
	}
	f.Add([]byte(`{"name":"x","cidrs":["10.9.0.0/24","10.1.0.0/26","fd00::/64","10.1.0.64/26"],"gateways":["10.1.0.1"],"stateful":["10.1.0.64/26"]}`),
		uint64(9), "db-1")
	f.Add([]byte(`{"name":"x","cidrs":["::/0","0.0.0.0/0"],"blockSize":{"v4":-1,"v6":200}}`), uint64(0), "")
	f.Fuzz(func(t *testing.T, text []byte, start uint64, member string) {
		var p Pool
		if json.Unmarshal(text, &p) != nil {
			return
		}
		p = p.WithDefaults()
		if p.Validate() != nil {
			return
		}
		for _, family := range p.Families() {
			if b, ok := p.PickBlock(family, start, func(netip.Prefix) bool { return false }); ok {
				checkBlock(t, &p, family, b)
			}
			if a, ok := p.PickStateful(family, Identity{Member: member}, func(netip.Addr) bool { return false }); ok {
				if !p.Usable(a) || !p.InStateful(a) || FamilyOf(a) != family {
					t.Fatalf("picked %v for a member, which is not a usable stateful address", a)
				}
			}
		}
	})
}

// checkBlock wants b to be a block for stateless containers that gives an address.
func checkBlock(t *testing.T, p *Pool, f Family, b netip.Prefix) {
	if p.BlockOf(b.Addr()) != b || p.InStateful(b.Addr()) {
		t.Fatalf("picked %v, which is not a block for stateless containers", b)
	}
	s := NewSpace(p, f)
	s.Add(b, false)
	g, outcome := s.Allocate(App{}, rand.N[Instant](1000), false)
	if outcome != Taken || !p.Usable(g.Address) || !b.Contains(g.Address) {
		t.Fatalf("took %v (%v) out of %v", g.Address, outcome, b)
	}
}
