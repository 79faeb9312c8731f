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

// NoteLostJournal finds out by this node's key whether another journal has served this boot. The journal records that before the
// key is rewritten: until the disk accepts it, the key goes on to name the other journal, so that it is noticed again.
func (m *Manager) NoteLostJournal(me, former *record.Node) {
	if former == nil || former.Boot != m.Boot || former.Journal == m.Journal.ID() {
		return
	}
	if err := m.Journal.SetLostJournal(); err != nil {
		m.Log.Error("cannot write down that another journal has served this boot; make room in the run directory", zap.Error(err))
		me.Journal = former.Journal
	}
}

// recallQuarantined reads the quarantine from the journal.
func (m *Manager) recallQuarantined() {
	for _, s := range m.Journal.Quarantined() {
		m.Pools.quarantined.add(ipam.BlockID{Pool: s.Pool, Prefix: s.Block}, s.Parts...)
	}
}

// keepQuarantined writes the quarantine to the journal.
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
