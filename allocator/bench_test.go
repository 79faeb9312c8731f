package allocator

import (
	"fmt"
	"net/netip"
	"testing"
)

// The time of a turn must not depend on how many addresses the node owns, nor on how many of them are held.
func BenchmarkTakeAndRelease(b *testing.B) {
	for _, c := range []struct{ owned, held int }{{64, 0}, {64, 32}, {4096, 2048}, {65536, 0}, {65536, 65000}} {
		b.Run(fmt.Sprintf("owned=%d/held=%d", c.owned, c.held), func(b *testing.B) {
			p := Pool{Name: "p", CIDRs: []netip.Prefix{prefix("10.0.0.0/8")}}.WithDefaults()
			s := NewSpace(&p, V4)
			for n := range c.owned / 64 {
				s.Add(netip.PrefixFrom(rangeOf(p.CIDRs[0]).unit(uint64(n), 6), 26), false)
			}
			for range c.held {
				s.Allocate(web, 0, true)
			}
			now := Instant(0)
			b.ReportAllocs()
			for b.Loop() {
				now++
				g, outcome := s.Allocate(web, now, true)
				if outcome != Taken {
					b.Fatal(outcome)
				}
				s.Release(g.Address, web, now, 0)
			}
		})
	}
}

// Many apps take turns, so that the longest free address is looked for, not the app's own.
func BenchmarkTakeByOtherApps(b *testing.B) {
	p := Pool{Name: "p", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}}.WithDefaults()
	s := NewSpace(&p, V4)
	for n := range uint64(64) {
		s.Add(netip.PrefixFrom(rangeOf(p.CIDRs[0]).unit(n, 6), 26), false)
	}
	apps := make([]App, 10_000)
	for i := range apps {
		apps[i] = App{"ns", fmt.Sprint("app-", i)}
	}
	now := Instant(0)
	b.ReportAllocs()
	for b.Loop() {
		now++
		app := apps[int(now)%len(apps)]
		g, _ := s.Allocate(app, now, true)
		s.Release(g.Address, app, now, 0)
	}
}

func BenchmarkPickStateful(b *testing.B) {
	p := smallest()
	taken := map[netip.Addr]bool{}
	none := func(a netip.Addr) bool { return taken[a] }
	for i := range 3500 { // of 4,094
		a, _ := p.PickStateful(V4, Identity{Member: fmt.Sprint(i)}, none)
		taken[a] = true
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.PickStateful(V4, Identity{Member: "next"}, none); !ok {
			b.Fatal("none")
		}
	}
}
