package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"go.uber.org/zap"
)

// giveBackEvery is how often blocks that are not needed are looked for.
const giveBackEvery = 10 * time.Second

// giveBackIdle returns the blocks in which nothing is held or kept for its app, beyond what one block has to spare; of a
// pool that is gone, all.
func (a *Agent) giveBackIdle(ctx context.Context) error {
	tick := time.NewTicker(giveBackEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.giveBackBlocks(ctx)
		}
	}
}

func (a *Agent) giveBackBlocks(ctx context.Context) {
	session, err := a.holding(allocator.Stateless)
	if err != nil || a.backlog.len() > 0 {
		return // what etcd shows of a block is to be right before its owner changes
	}
	for k, part := range a.idle() {
		// It is out of the allocator: if etcd's answer is lost it is the node's and unused until the next settling.
		block, ok := a.blocks.get(k, part)
		if !ok {
			continue
		}
		if err := session.ReleaseBlock(ctx, block); err != nil {
			a.Log.Warn("cannot give a block back", zap.Stringer("block", part), zap.Error(err))
			continue
		}
		a.blocks.drop(block)
		a.journal.Forget(func(f journal.Freed) bool { return f.Pool == k.pool && part.Contains(f.Address) })
		a.Log.Info("gave a block back", zap.String("pool", k.pool), zap.Stringer("block", part))
	}
}

// idle takes at most one part of each space out of the allocator: one that leaves a block's worth of free addresses.
func (a *Agent) idle() map[spaceKey]netip.Prefix {
	now, out := wire.Boottime(), map[spaceKey]netip.Prefix{}
	pools := a.config.Load().Pools
	a.pools.each(func(k spaceKey, s *allocator.Space) {
		c := s.Counts()
		for _, part := range s.Idle(now) {
			size := 1 << min(part.Addr().BitLen()-part.Bits(), 16)
			if p, wanted := pools[k.pool]; wanted && !p.Draining && c.Free+c.Released < 2*size {
				continue
			}
			if s.Remove(part) == nil {
				out[k] = part
				return
			}
		}
	})
	return out
}
