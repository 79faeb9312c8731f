package faults

import (
	"net/netip"
	"testing"
)

func TestEverySecondSeedHasBothFamiliesWithAsManyAddresses(t *testing.T) {
	if four := SizeOf(11); four.Both || len(four.gateways()) != 1 {
		t.Errorf("an odd seed has %+v", four)
	}
	both := SizeOf(12)
	if !both.Both || len(both.gateways()) != 2 {
		t.Fatalf("an even seed has %+v", both)
	}
	pool, stateful := both.families(both.Pool)[1], both.families(both.Stateful)[1]
	if want := netip.MustParsePrefix("fd42::a2a:0/122"); pool != want {
		t.Errorf("the pool of IPv6 is %v: want %v", pool, want)
	}
	if pool.Bits()-both.Pool.Bits() != stateful.Bits()-both.Stateful.Bits() || !pool.Contains(stateful.Addr()) ||
		!pool.Contains(both.gateways()[1].Addr()) {
		t.Errorf("%v and its stateful range %v, gateways %v", pool, stateful, both.gateways())
	}
}

func TestAContainerOfTwoFamiliesIsTheSameInEveryViewWhicheverAddressIsReadFirst(t *testing.T) {
	a, b := netip.MustParseAddr("10.42.0.9"), netip.MustParseAddr("fd42::9")
	want := held("n1", b, a)
	for _, order := range [][]netip.Addr{{a, b}, {b, a}} {
		v := view{}
		for _, each := range order {
			v.also("c", "n1", each)
		}
		if v["c"] != want {
			t.Errorf("read as %v it is %q: want %q", order, v["c"], want)
		}
	}
}
