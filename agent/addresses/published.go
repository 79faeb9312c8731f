package addresses

import (
	"context"
	"net/netip"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// Stale reports whether an assignment in etcd is without a container here and this node's to delete: the node wrote it, or has
// taken over its block.
func (m *Manager) Stale(s record.Assignment) bool {
	if m.Journal.Holder(s.Pool, s.Address) != nil {
		return false
	}
	own := false
	m.Pools.On(s.Pool, s.Address, func(space *allocator.Space) { own = space.Owns(s.Address) })
	return own || s.Node == m.Name
}

// clearTakenOver deletes the assignments that a block's former owner has published.
func (m *Manager) clearTakenOver(ctx context.Context, b record.Block) {
	assignments, err := m.Store.Blocks.Assignments(ctx)
	if err != nil {
		m.Log.Warn("cannot delete the former assignments of a block that was taken over yet; the next settling tries again",
			zap.Stringer("block", b.Prefix), zap.Error(err))
		return
	}
	for _, s := range assignments {
		if s.Pool == b.Pool && b.Prefix.Contains(s.Address) && m.Stale(s) {
			m.backlog.Add(s.Pool, []netip.Addr{s.Address})
		}
	}
}
