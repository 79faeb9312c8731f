package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"go.uber.org/zap"
)

// giveBackEvery is how often blocks that are not needed are looked for.
const giveBackEvery = 10 * time.Second

// giveBackIdle returns the blocks in which nothing is held or kept for its app, beyond what one block has to spare; of a
// pool that is gone, all, and all in a stateful range, where a block is a node's only by somebody's hand.
func (a *Agent) giveBackIdle(ctx context.Context) error {
	return every(ctx, giveBackEvery, func() { a.giveBackBlocks(ctx) })
}

func (a *Agent) giveBackBlocks(ctx context.Context) {
	session, err := a.holding(allocator.Stateless)
	if err != nil || a.backlog.len() > 0 {
		return // what etcd shows of a block is to be right before its owner changes
	}
	for _, o := range a.idle() {
		after, err := session.ReleaseBlock(ctx, o.block, o.part)
		if err != nil && !definite(err) {
			a.Log.Warn("whether a block was given back is in doubt", zap.Stringer("block", o.part), zap.Error(err))
			a.doubt(o)
			continue
		}
		a.arrived(o, after)
		if err != nil {
			a.Log.Warn("cannot give a block back", zap.Stringer("block", o.part), zap.Error(err))
			continue
		}
		a.Log.Info("gave a block back", zap.String("pool", o.space.pool), zap.Stringer("block", o.part))
	}
}

// idle takes at most one part of each space out of the allocator: one that leaves a block's worth of free addresses.
func (a *Agent) idle() (all []*outgoing) {
	now, pools := wire.Boottime(), a.config.Load().Pools
	for _, k := range a.pools.keys() {
		p, wanted := pools[k.pool]
		o := a.takeOut(k, func(s *allocator.Space) (netip.Prefix, bool) {
			c := s.Counts()
			for _, part := range s.Idle(now) {
				if wanted && !p.Draining && !p.InStateful(part.Addr()) && c.Free+c.Released < addresses(part)+addresses(p.BlockOf(part.Addr())) {
					continue
				}
				if s.Remove(part) == nil {
					return part, true
				}
			}
			return netip.Prefix{}, false
		})
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}

// addresses is how many a part has.
func addresses(p netip.Prefix) int { return 1 << (p.Addr().BitLen() - p.Bits()) }
