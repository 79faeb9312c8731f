package addresses

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
)

func TestTheRefusalOfAnExhaustedPoolCountsItsStatelessAddresses(t *testing.T) {
	pool := allocator.Pool{Name: "half", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.45.0.0/29")},
		Stateful:  []netip.Prefix{netip.MustParsePrefix("10.45.0.0/30")},
		BlockSize: allocator.BlockSize{V4: 30}}
	k := SpaceKey{Pool: "half", Family: allocator.V4}
	if err := noAddress(&pool, k, ErrNoBlock); !strings.Contains(err.Error(), "it has 3 addresses") {
		t.Errorf("the refusal %q: the pool has three of them, 10.45.0.4 to .6", err)
	}
}
