package netops

import (
	"net/netip"
	"testing"
)

func BenchmarkSetRouting(b *testing.B) {
	k, host := newHost(b)
	plug := newSwitch(b)
	plug(host, "eth0")
	host.Give("eth0", "192.0.2.1/16")
	const routes = 10_000
	whole := Routing{Pools: pools[:1], Hops: map[netip.Prefix]Hop{}}
	for i := range routes {
		to := netip.AddrFrom4([4]byte{10, 64 + byte(i>>10), byte(i >> 2), byte(i << 6)})
		whole.Hops[netip.PrefixFrom(to, 26)] = Hop{Via: netip.AddrFrom4([4]byte{192, 0, 3 + byte(i%200), 1})}
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
		n := byte(0)
		for b.Loop() {
			n++
			one := map[netip.Prefix]Hop{netip.MustParsePrefix("10.64.0.0/26"): {Via: netip.AddrFrom4([4]byte{192, 0, 4 + n%2, 1})}}
			if refused, err := k.ChangeHops(one); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
		}
	})
}
