package addresses

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAnIndeterminateTransferEndsWithANewerRevisionOfTheBlockAndWithNoOther(t *testing.T) {
	whole, part := netip.MustParsePrefix("10.7.0.0/28"), netip.MustParsePrefix("10.7.0.8/29")
	b := record.Block{Pool: "tiny", Prefix: whole, Revision: 5, Parts: []record.Part{{Prefix: whole, Owner: "n1"}}}
	p := pools{inFlight: []*InFlight{{Space: SpaceKey{Pool: "tiny", Family: allocator.V4}, Block: b, Part: part, indeterminate: true}}}
	own := []netip.Prefix{whole}
	if kept := p.kept(b.ID(), b, own); !slices.Equal(kept, []netip.Prefix{part}) {
		t.Errorf("by the record that the transfer compares, %v is kept out, want %v", kept, part)
	}
	if b.Revision++; len(p.kept(b.ID(), b, own)) > 0 || len(p.inFlight) > 0 {
		t.Errorf("a newer word has come, and in doubt are %v", p.inFlight)
	}
}
