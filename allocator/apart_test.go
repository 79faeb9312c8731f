package allocator

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestWhatContainersOfIsolatedPoolsMayHaveIsApartAndNothingElse(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	pools := map[string]Pool{
		"flat": {
			CIDRs: []netip.Prefix{prefix("10.42.0.0/24"), prefix("fd42::/120")}, Isolate: true, Gateways: []netip.Addr{addr("10.42.0.1")},
			Former: []netip.Addr{addr("10.42.0.9")}, Exclude: []Range{{addr("10.42.0.64"), addr("10.42.0.127")}},
		},
		"routed": {CIDRs: []netip.Prefix{prefix("10.43.0.0/24")}, Isolate: true, Mode: Routed},
		"open":   {CIDRs: []netip.Prefix{prefix("10.44.0.0/24")}, Gateways: []netip.Addr{addr("10.44.0.1"), addr("fe80::1")}, OnLink: true},
	}
	machines := []netip.Prefix{prefix("10.42.0.200/32"), prefix("fd42::/127"), prefix("10.44.0.7/32")}
	got := fmt.Sprint(Apart(pools, machines))
	want := "[10.42.0.2-10.42.0.8 10.42.0.10-10.42.0.63 10.42.0.128-10.42.0.199 10.42.0.201-10.42.0.254 10.43.0.0/24 fd42::2-fd42::ff " +
		"fe80:: fe80::2-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"
	if got != want {
		t.Errorf("apart are\n%s, want\n%s", got, want)
	}
	delete(pools, "flat")
	delete(pools, "routed")
	if got := Apart(pools, machines); len(got) != 0 {
		t.Errorf("without an isolated pool apart are %v", got)
	}
}
