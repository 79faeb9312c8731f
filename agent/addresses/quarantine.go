package addresses

import (
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// quarantined are the parts of which another journal of this boot may have allocated addresses: the IPAM role leaves no trace in
// the kernel. They are this node's, but in no allocator, until the next boot. The journal keeps them.
type quarantined struct {
	parts   map[ipam.BlockID][]netip.Prefix
	changed bool // since the journal was written
}

// addAll quarantines what the blocks record as a node's.
func (s *quarantined) addAll(blocks []record.Block, node string) {
	s.changed = true
	for _, b := range blocks {
		for _, part := range b.Of(node) {
			s.add(b.ID(), part.Prefix)
		}
	}
}

func (s *quarantined) add(k ipam.BlockID, parts ...netip.Prefix) {
	if s.parts == nil {
		s.parts = map[ipam.BlockID][]netip.Prefix{}
	}
	for _, part := range parts {
		s.parts[k] = append(s.parts[k], allocator.Subtract(part, s.parts[k])...)
	}
}

// of is what of a block is in quarantine. A part that this node has given up is dropped from it, and is as new when it returns.
func (s *quarantined) of(k ipam.BlockID, own []netip.Prefix) (still []netip.Prefix) {
	for _, part := range s.parts[k] {
		still = append(still, allocator.Subtract(part, allocator.Subtract(k.Prefix, own))...)
	}
	if slices.Equal(still, s.parts[k]) {
		return still
	}
	s.changed = true
	if s.parts[k] = still; len(still) == 0 {
		delete(s.parts, k)
	}
	return still
}
