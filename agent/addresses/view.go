package addresses

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Run keeps the view of the cluster's blocks, and brings the allocator into agreement with it, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	return task.All(ctx, m.follow, m.clearTakenOver)
}

func (m *Manager) follow(ctx context.Context) error {
	return m.Store.Blocks.Follow(ctx, func(u kv.Update[record.Block]) {
		node.Report(m.Node, u)
		changed, keys, repaired := m.Blocks.Apply(u)
		gone := slices.Clone(keys)
		m.reportMisfits(u.Set)
		changes := map[ipam.BlockID]change{}
		for _, c := range changed {
			changes[c.now.ID()] = c
			keys = append(keys, c.now.ID())
		}
		var gained []ipam.BlockID
		m.Gate.Shared(func() { gained = m.Reconcile(keys...) })
		m.republishGained(gained)
		m.assertGone(gone)
		m.publishRepaired(repaired)
		for _, k := range gained {
			if changes[k].tookOver(m.Name) { // the answer of the transaction that took it may be lost
				m.tookOver.Raise()
			}
			if from := changes[k].donor(m.Name); from != "" {
				m.Metrics.Transfer("received")
				m.Log.Info("received addresses", zap.String("pool", k.Pool), zap.Stringer("block", k.Prefix), zap.String("from", from))
			}
		}
		m.Waiters.wakeAll() // a block may have become free
		m.ToldBlocks(u)
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

// publishRepaired puts what was parked for repaired blocks into the backlog.
func (m *Manager) publishRepaired(repaired []ipam.Address) {
	for _, at := range repaired {
		for d := range m.Blocks.unpark(at) {
			m.backlog.Add(d.Pool, []netip.Addr{d.Addr})
		}
	}
	m.isolator.SettleUnsure(len(repaired) > 0)
}

// reportMisfits reports the blocks that have another size than their pool's, and clears the finding of the others.
func (m *Manager) reportMisfits(set []record.Block) {
	pools := m.Config().Pools
	for _, b := range set {
		pool, known := pools[b.Pool]
		if want := pool.BlockOf(b.Prefix.Addr()); known && want != b.Prefix {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			m.NoteDamaged(&kv.DamagedError{
				Key: m.Key(key), At: key, Revision: b.Revision,
				Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, want, b.Pool),
			})
		} else if known {
			key := kv.Key{Kind: kv.KindBlock, Pool: b.Pool, Address: b.Prefix.Addr()}
			m.ClearDamaged(m.Key(key))
		}
	}
}

// assertGone restores the records of this node's blocks whose keys were deleted.
func (m *Manager) assertGone(gone []ipam.BlockID) {
	for _, k := range gone {
		pool, known := m.Config().Pools[k.Pool]
		if !known || pool.BlockOf(k.Prefix.Addr()) != k.Prefix {
			continue
		}
		var own []netip.Prefix
		m.Pools.With(SpaceOf(k.Pool, k.Prefix.Addr()), func(s *allocator.Space) {
			for _, p := range s.Parts() {
				if k.Prefix.Contains(p.Addr()) {
					own = append(own, p)
				}
			}
		})
		// A block without containers is left without an owner.
		if len(own) > 0 && slices.ContainsFunc(m.Journal.Entries(), func(e *journal.Entry) bool {
			return e.Pool == k.Pool && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, k.Prefix.Contains)
		}) {
			m.Background.Go(func() { m.assertBlock(k, own) })
		}
	}
}

// assertBlock restores the record of one block of this node. Where it cannot, the next settling does.
func (m *Manager) assertBlock(k ipam.BlockID, own []netip.Prefix) {
	session, err := m.Holding(allocator.Stateless)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Assert(ctx, session, k.Pool, k.Prefix, own)
	if err == nil {
		m.Log.Warn("the record of a block of this node was deleted by hand; it is restored", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix))
		err = m.Own(session, b)
	}
	if err != nil && !m.Damaged(err) {
		m.Log.Warn("cannot restore the record of a block yet; the node settles again", zap.String("pool", k.Pool),
			zap.Stringer("block", k.Prefix), zap.Error(err))
		m.Reassert.Raise()
	}
}
