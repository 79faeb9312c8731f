package netops

import (
	"net/netip"
	"testing"
)

// BenchmarkSetRouting is about 10,000 routes over 200 next hops.
func BenchmarkSetRouting(b *testing.B) {
	hop := func(n int) Hop { return Hop{Via: netip.AddrFrom4([4]byte{192, 0, 3 + byte(n%200), 1})} }
	benchRouting(b, Routing{Pools: pools[:1]}, hop)
}

// BenchmarkSetRoutingThroughATunnel is about 10,000 routes to 100 nodes.
func BenchmarkSetRoutingThroughATunnel(b *testing.B) {
	hop := func(n int) Hop { return Hop{Via: netip.AddrFrom4([4]byte{192, 0, 3 + byte(n%100), 1}), Way: Tunnel} }
	whole := Routing{
		Pools: pools[:1], Ways: map[netip.Prefix]Way{pools[0]: Tunnel}, Locals: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	}
	for n := range 100 {
		whole.Nodes = append(whole.Nodes, []netip.Addr{hop(n).Via})
	}
	benchRouting(b, whole, hop)
}

func benchRouting(b *testing.B, whole Routing, hop func(n int) Hop) {
	k, host := newHost(b)
	plug := newSwitch(b)
	plug(host, "eth0")
	host.Give("eth0", "192.0.2.1/16")
	const routes = 10_000
	whole.Hops = map[netip.Prefix]Hop{}
	for i := range routes {
		to := netip.AddrFrom4([4]byte{10, 64 + byte(i>>10), byte(i >> 2), byte(i << 6)})
		whole.Hops[netip.PrefixFrom(to, 26)] = hop(i)
	}
	set := func(b *testing.B, r Routing) {
		if refused, err := k.SetRouting(r); err != nil || len(refused) > 0 {
			b.Fatal(refused, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			set(b, whole)
			b.StopTimer()
			set(b, Routing{})
			b.StartTimer()
		}
	})
	set(b, whole)
	b.Run("compared", func(b *testing.B) {
		for b.Loop() {
			set(b, whole)
		}
	})
	b.Run("change", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			one := map[netip.Prefix]Hop{netip.MustParsePrefix("10.64.0.0/26"): hop(n % 2)}
			if refused, err := k.ChangeHops(one); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
		}
	})
}
