package addresses

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// followBlocks keeps the view of the cluster's blocks, and brings the allocator into agreement with it.
func (m *Manager) followBlocks(ctx context.Context) error {
	return m.Store.Blocks.Follow(ctx, func(u kv.Update[record.Block]) {
		node.Report(m.Node, u)
		changed, keys, repaired := m.Blocks.Apply(u)
		gone := slices.Clone(keys)
		m.reportMisfits(u.Set)
		changes := map[ipam.BlockID]change{}
		for _, c := range changed {
			changes[c.Now.ID()] = c
			keys = append(keys, c.Now.ID())
		}
		var gained []ipam.BlockID
		m.Gate.Shared(func() { gained = m.Reconcile(keys...) })
		m.republishGained(gained)
		m.assertGone(gone)
		m.publishRepaired(repaired)
		for _, k := range gained {
			if from := changes[k].donor(m.Name); from != "" {
				m.Metrics.Transfer("received")
				m.Log.Info("received addresses", zap.String("pool", k.Pool), zap.Stringer("block", k.Prefix), zap.String("from", from))
			}
		}
		m.Waiters.wakeAll() // a block may have become free
	})
}

// republishGained publishes again what is held of gained blocks: while a block's record was unreadable, nothing of it was
// published, and its cut containers stayed cut.
func (m *Manager) republishGained(gained []ipam.BlockID) {
	for _, k := range gained {
		for _, e := range m.Journal.Within(k.Pool, k.Prefix) {
			if e.Class == allocator.Stateless {
				m.backlog.Add(e.Pool, e.Addresses)
			}
		}
		if m.isolator.Awaits(func(at ipam.Address) bool { return at.Pool == k.Pool && k.Prefix.Contains(at.Addr) }) {
			m.Reassert.Raise()
		}
	}
}
