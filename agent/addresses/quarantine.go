package addresses

import (
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// quarantined are the parts of which another journal of this boot may have handed out: an address in the IPAM role leaves no
// trace in the kernel. They are this node's and in no allocator until the next boot; the journal keeps them till then.
type quarantined struct {
	parts   map[ipam.BlockID][]netip.Prefix
	changed bool // and the journal does not know yet
}

// addAll shuns what the blocks say to be a node's.
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

// of is what of a block is shunned. What is not the node's own any more was given up, and is as new when it comes back.
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

// NoteLostJournal finds out by what this node's key says whether another journal has served this boot. The journal has it
// before the key says otherwise, so that it is not forgotten whatever comes between: as long as the disk does not take it, the
// key goes on to name the other journal.
func (m *Manager) NoteLostJournal(me, former *record.Node) {
	if former == nil || former.Boot != m.Boot || former.Journal == m.Journal.ID() {
		return
	}
	if err := m.Journal.SetLostJournal(); err != nil {
		m.Log.Error("cannot write down that another journal has served this boot; make room in the run directory", zap.Error(err))
		me.Journal = former.Journal
	}
}

// recallQuarantined takes over what the journal says to be shunned.
func (m *Manager) recallQuarantined() {
	for _, s := range m.Journal.Quarantined() {
		m.Pools.quarantined.add(ipam.BlockID{Pool: s.Pool, Prefix: s.Block}, s.Parts...)
	}
}

// keepQuarantined lets the journal know what is shunned by now.
func (m *Manager) keepQuarantined() {
	p := &m.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quarantined.changed {
		return
	}
	var all []journal.Quarantined
	for k, parts := range p.quarantined.parts {
		all = append(all, journal.Quarantined{Pool: k.Pool, Block: k.Prefix, Parts: parts})
	}
	m.Journal.SetQuarantined(all)
	p.quarantined.changed = false
}
