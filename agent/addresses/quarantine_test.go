package addresses

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

func TestWhatIsQuarantinedStaysSoUntilThisNodeHasGivenItUp(t *testing.T) {
	whole := netip.MustParsePrefix("10.7.0.0/28")
	lower, upper := netip.MustParsePrefix("10.7.0.0/29"), netip.MustParsePrefix("10.7.0.8/29")
	k := ipam.BlockID{Pool: "tiny", Prefix: whole}
	var s quarantined
	for range 2 { // twice is as once
		s.addAll([]record.Block{{Pool: "tiny", Prefix: whole, Parts: []record.Part{{Prefix: lower, Owner: "n1"}, {Prefix: upper, Owner: "n2"}}}},
			"n1")
	}
	s.changed = false
	if got := s.of(k, []netip.Prefix{whole}); !slices.Equal(got, []netip.Prefix{lower}) || s.changed {
		t.Errorf("quarantined is %v (changed: %v), want the part that was this node's", got, s.changed)
	}
	half := netip.MustParsePrefix("10.7.0.4/30")
	for _, own := range [][]netip.Prefix{{half, upper}, {whole}} { // the rest was given up, and has come back
		if got := s.of(k, own); !slices.Equal(got, []netip.Prefix{half}) {
			t.Errorf("quarantined is %v, want %v", got, half)
		}
	}
	if got := s.of(k, nil); len(got) > 0 || len(s.parts) > 0 || !s.changed {
		t.Errorf("all is given up, and quarantined is %v", s.parts)
	}
}
