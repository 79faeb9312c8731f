package addresses

import (
	"context"
	"net/netip"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// Stale reports whether nobody here has what etcd shows to be assigned, and it is this node's to say so: it was assigned
// here, or lies in what the node has taken from another.
func (m *Manager) Stale(s record.Assignment) bool {
	if m.Journal.Holder(s.Pool, s.Address) != nil {
		return false
	}
	own := false
	m.Pools.On(s.Pool, s.Address, func(space *allocator.Space) { own = space.Owns(s.Address) })
	return own || s.Node == m.Name
}

// clearTakenOver takes away what the former owner of a block had published of it.
func (m *Manager) clearTakenOver(ctx context.Context, b record.Block) {
	assignments, err := m.Store.Blocks.Assignments(ctx)
	if err != nil {
		m.Log.Warn("what was assigned in a taken block is shown until the next settling", zap.Stringer("block", b.Prefix), zap.Error(err))
		return
	}
	for _, s := range assignments {
		if s.Pool == b.Pool && b.Prefix.Contains(s.Address) && m.Stale(s) {
			m.backlog.Add(s.Pool, []netip.Addr{s.Address})
		}
	}
}
