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

func TestALookCostsWhatIsThereAndAnEmptyTableKeepsNothing(t *testing.T) {
	table := byAddress[int]{}
	first := netip.MustParseAddr("10.42.0.0")
	for a, n := first, 0; n < 1<<16; a, n = a.Next(), n+1 {
		if n%8 == 0 { // 8 in each bucket
			table.set("p", a, n)
		}
	}
	looks := func(prefix string, found, most int) {
		t.Helper()
		before := table.looked.Load()
		got := table.within("p", netip.MustParsePrefix(prefix))
		if n := table.looked.Load() - before; len(got) != found || n > int64(most) || n < int64(found) {
			t.Errorf("in %s are %d, found by %d looks: want %d, and at most %d looks", prefix, len(got), n, found, most)
		}
	}
	looks("10.42.16.0/26", 8, 9)
	looks("10.42.16.0/28", 2, 9)
	looks("10.42.16.0/25", 16, 18)
	looks("10.42.0.0/16", 1<<13, 1<<13+1<<10)
	looks("10.0.0.0/8", 1<<13, 1<<13+1<<10)
	looks("10.43.0.0/16", 0, 1<<10)
	for range table.all() {
		break
	}
	for a, n := first, 0; n < 1<<16; a, n = a.Next(), n+1 {
		table.remove("p", a)
		if n == 63 && len(table.pools["p"]) != 1<<10-1 {
			t.Errorf("there are %d buckets", len(table.pools["p"]))
		}
	}
	if len(table.pools) != 0 {
		t.Errorf("it keeps %d pools", len(table.pools))
	}
}
