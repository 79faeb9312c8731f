package transfers

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/record"
)

func TestADemandAsksForAnotherOnlyWhereItAsksForAllOfIt(t *testing.T) {
	a, b := netip.MustParseAddr("10.7.0.5"), netip.MustParseAddr("10.7.0.6")
	for _, c := range []struct {
		there, d record.Demand
		want     bool
	}{
		{record.Demand{}, record.Demand{}, true},
		{record.Demand{V4: 1}, record.Demand{V4: 3}, true},
		{record.Demand{V6: 1}, record.Demand{V6: 3}, true},
		{record.Demand{V4: 1, V6: 1}, record.Demand{}, true},
		{record.Demand{V6: 1}, record.Demand{V4: 1}, false},
		{record.Demand{V4: 1}, record.Demand{V6: 1}, false},
		{record.Demand{Addresses: []netip.Addr{a, b}}, record.Demand{Addresses: []netip.Addr{b}}, true},
		{record.Demand{Addresses: []netip.Addr{a}}, record.Demand{Addresses: []netip.Addr{a, b}}, false},
		{record.Demand{Machine: []netip.Addr{a, b}}, record.Demand{Machine: []netip.Addr{b}}, true},
		{record.Demand{Machine: []netip.Addr{a}}, record.Demand{Machine: []netip.Addr{b}}, false},
		{record.Demand{Machine: []netip.Addr{a}}, record.Demand{Addresses: []netip.Addr{a}}, false},
	} {
		if got := asksFor(c.there, c.d); got != c.want {
			t.Errorf("%+v asks for all of %+v: %t, want %t", c.there, c.d, got, c.want)
		}
	}
}
