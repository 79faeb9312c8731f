package addresses

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// holdings are the stateless addresses that this node holds by its journal, as prefixes in each block.
type holdings map[ipam.BlockID][]netip.Prefix

// Held is what the journal's containers hold, with the parts around it that the allocator owns. With freed it includes the freed
// addresses of the journal: an agent that was started while etcd recovers knows no others to be free.
func (m *Manager) Held(freed bool) holdings {
	h, own, pools := holdings{}, m.Pools.parts(), m.Config().Pools
	seen := map[ownPart]bool{}
	add := func(pool string, addr netip.Addr) {
		p, ok := pools[pool]
		part := own.around(pool, addr)
		if !ok || !p.Contains(addr) || seen[ownPart{pool, part}] {
			return
		}
		seen[ownPart{pool, part}] = true
		k := ipam.BlockID{Pool: pool, Prefix: p.BlockOf(addr)}
		h[k] = append(h[k], part)
	}
	for _, e := range m.Journal.Entries() {
		if e.Class == allocator.Stateless && e.Isolated == nil {
			for _, addr := range e.Addresses {
				add(e.Pool, addr)
			}
		}
	}
	if freed {
		for _, f := range m.Journal.Freed() {
			add(f.Pool, f.Address)
		}
	}
	return h
}

// An ownPart is a part that the allocator owns, or a single address.
type ownPart struct {
	pool string
	part netip.Prefix
}

// alleged is what the blocks record as a node's and the holdings lack; nil holdings allege nothing.
func (h holdings) alleged(blocks []record.Block, node string) map[ipam.BlockID][]netip.Prefix {
	if h == nil {
		return nil
	}
	alleged := map[ipam.BlockID][]netip.Prefix{}
	for _, b := range blocks {
		for _, p := range b.Of(node) {
			alleged[b.ID()] = append(alleged[b.ID()], allocator.Subtract(p.Prefix, h[b.ID()])...)
		}
	}
	return alleged
}

// AssertBlocks restores in etcd what this node holds and no record assigns: a missing record does not mean that the address is
// lost. It returns the blocks as they are then.
func (m *Manager) AssertBlocks(ctx context.Context, s *session.Session, blocks []record.Block, held holdings) ([]record.Block, error) {
	byKey := map[ipam.BlockID]int{}
	for i, b := range blocks {
		byKey[b.ID()] = i
	}
	for k, prefixes := range held {
		i, known := byKey[k]
		if known && !uncovered(blocks[i], prefixes) {
			continue
		}
		b, err := block.Assert(ctx, s, k.Pool, k.Prefix, prefixes)
		if m.Damaged(err) {
			if err := m.recallBlock(ctx, k, err); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		m.Log.Warn("etcd had no record of what this node holds of a block", zap.String("pool", k.Pool), zap.Stringer("block", k.Prefix))
		if known {
			blocks[i] = b
		} else {
			blocks = append(blocks, b)
		}
	}
	return blocks, nil
}

// recallBlock decides about the addresses of a block whose record is unreadable, by its former value in etcd's history.
func (m *Manager) recallBlock(ctx context.Context, k ipam.BlockID, damage error) error {
	before, err := m.Store.Blocks.Before(ctx, k.Pool, k.Prefix)
	_, unknown := errors.AsType[*kv.DamagedError](err)
	if err != nil && !unknown {
		return err
	}
	if !unknown {
		m.IsolateLost(before)
		return nil
	}
	for _, e := range m.Journal.Entries() {
		if e.Pool == k.Pool && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, k.Prefix.Contains) {
			m.isolator.Unsure.Add(e.Attachment, damage)
		}
	}
	return nil
}

func uncovered(b record.Block, prefixes []netip.Prefix) bool {
	var covered []netip.Prefix
	for _, p := range b.Parts {
		covered = append(covered, p.Prefix)
	}
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return len(allocator.Subtract(p, covered)) > 0 })
}

// SettleParts brings the allocator into agreement with this node's parts by etcd, and isolates containers with an address in
// another node's. Where held is not nil, etcd's records count only as far as they are among it. Transfers of a former session are
// decided by now. The gate is held.
func (m *Manager) SettleParts(blocks []record.Block, generation int64, held holdings) {
	m.Blocks.settle(blocks, generation)
	m.Pools.settle(blocks, m.Name, held.alleged(blocks, m.Name), m.Journal.LostJournal())
	keys := make([]ipam.BlockID, len(blocks))
	for i, b := range blocks {
		keys[i] = b.ID()
	}
	m.Reconcile(keys...)
	m.Journal.Forget(slices.DeleteFunc(m.Journal.Freed(), func(f journal.Freed) (owned bool) {
		m.Pools.On(f.Pool, f.Address, func(s *allocator.Space) { owned = s.Owns(f.Address) })
		return owned // else it is another node's, or of no pool
	}))
}
