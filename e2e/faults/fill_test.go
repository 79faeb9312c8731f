package faults

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

func TestAnAddressThatNobodyGivesOrTwoGetIsReported(t *testing.T) {
	with := func(id, address string) *instance {
		return &instance{Container: &lab.Container{ID: id}, had: []netip.Addr{netip.MustParseAddr(address)}}
	}
	a, b, c := with("a", "10.0.0.1"), with("b", "10.0.0.2"), with("c", "10.0.0.1")
	without := &instance{Container: &lab.Container{ID: "d"}}
	for name, test := range map[string]struct {
		all   []*instance
		words []string
		want  []check.Rule
	}{
		"each has one":      {[]*instance{a, b}, []string{"", ""}, nil},
		"one has none":      {[]*instance{a, without}, []string{"", "the pool is exhausted"}, []check.Rule{check.Usable}},
		"two have the same": {[]*instance{a, b, c}, []string{"", "", ""}, []check.Rule{check.Unique}},
	} {
		found := unusable(test.all, test.words, 0)
		if len(found) != len(test.want) || len(found) > 0 && found[0].Rule != test.want[0] {
			t.Errorf("%s: it is told as %v: want %v", name, found, test.want)
		}
	}
}

func TestAPoolHasAnAddressForEachButTheNetworkTheGatewayAndTheBroadcast(t *testing.T) {
	if n := Small.addresses(Modes[0]); n != 64-16-1 {
		t.Errorf("a /26 with a stateful /28 has %d addresses for replicas", n)
	}
	if n := Small.addresses(Modes[1]); n != 64-16 {
		t.Errorf("a routed /26 with a stateful /28 has %d addresses for replicas", n)
	}
	if n := narrow.addresses(Modes[0]); n != narrow.Replicas {
		t.Errorf("the narrow pool has %d addresses, and its stories use up %d", n, narrow.Replicas)
	}
}
