package addresses

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
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

// clearTakenOver deletes the assignments that former owners have published of what was taken over from them, until ctx ends.
func (m *Manager) clearTakenOver(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.tookOver:
		}
		assignments, err := m.Store.Blocks.Assignments(ctx)
		if err != nil {
			m.Log.Warn("cannot delete the former assignments of a block that was taken over yet; trying again", zap.Error(err))
			m.tookOver.Raise()
			_ = task.Pause(ctx, time.Second)
			continue
		}
		for _, s := range assignments {
			if m.Stale(s) {
				m.backlog.Add(s.Pool, []netip.Addr{s.Address})
			}
		}
	}
}
