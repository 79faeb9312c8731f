package journal

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWhatLiesInAPrefixIsFoundAsByLookingAtAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]string{"10.0.0.0", "255.255.252.0", "fd00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fc00"}).Draw(t, "base")
		first := netip.MustParseAddr(base)
		at := func(n int) netip.Addr {
			a := first
			for range n {
				a = a.Next()
			}
			return a
		}
		table, all := byAddress[netip.Addr]{}, map[netip.Addr]bool{}
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 1023)).Draw(t, "set") {
			table.set("p", at(n), at(n))
			all[at(n)] = true
		}
		table.set("other", first, first)
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 1023)).Draw(t, "removed") {
			table.remove("p", at(n))
			delete(all, at(n))
		}
		in := netip.PrefixFrom(at(rapid.IntRange(0, 1023).Draw(t, "in")), first.BitLen()-rapid.IntRange(0, 12).Draw(t, "host bits"))
		var want []netip.Addr
		for a := range all {
			if in.Contains(a) {
				want = append(want, a)
			}
		}
		got := table.within("p", in)
		slices.SortFunc(want, netip.Addr.Compare)
		slices.SortFunc(got, netip.Addr.Compare)
		if !slices.Equal(got, want) {
			t.Fatalf("in %s there are %v: want %v", in, got, want)
		}
	})
}
