package transfers

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
)

const (
	giveBackEvery = 10 * time.Second       // how often blocks that are not needed are looked for
	drainEvery    = 200 * time.Millisecond // how often while a pool is drained
)

// giveBackIdle returns the blocks in which nothing is held or kept for its app, beyond what one block has to spare; of a
// pool that is gone, all, and all in a stateful range, where a block is a node's only by somebody's hand. Those of a pool
// that is drained it returns at once.
func (e *Exchange) giveBackIdle(ctx context.Context) error {
	for last := time.Now(); ; {
		wait := giveBackEvery - time.Since(last)
		if e.drains() {
			wait = min(wait, drainEvery)
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-e.draining:
			timer.Stop()
		case <-timer.C:
		}
		drained := func(pool string) bool { p, there := e.Config().Pools[pool]; return !there || p.Draining }
		if time.Since(last) >= giveBackEvery {
			last, drained = time.Now(), func(string) bool { return true }
		}
		e.GiveBackBlocks(ctx, drained)
	}
}

// drains reports whether this node has something of a pool that is drained.
func (e *Exchange) drains() (drains bool) {
	pools := e.Config().Pools
	e.addresses.Pools.Each(func(k addresses.SpaceKey, s *allocator.Space) {
		drains = drains || pools[k.Pool].Draining && s.OwnsAny()
	})
	return drains
}

// GiveBackBlocks returns what is idle of the pools that it is to look at.
func (e *Exchange) GiveBackBlocks(ctx context.Context, looked func(pool string) bool) {
	session, err := e.Holding(allocator.Stateless)
	if err != nil || e.backlog.Len() > 0 {
		return // what etcd shows of a block is to be right before its owner changes
	}
	for _, o := range e.idle(looked) {
		after, err := block.Release(ctx, session, o.Block, o.Part)
		if err != nil && !Definite(err) {
			e.Log.Warn("whether a block was given back is in doubt", zap.Stringer("block", o.Part), zap.Error(err))
			e.addresses.MarkIndeterminate(o)
			continue
		}
		e.addresses.Resolved(o, after)
		if err != nil {
			e.Log.Warn("cannot give a block back", zap.Stringer("block", o.Part), zap.Error(err))
			continue
		}
		e.Log.Info("gave a block back", zap.String("pool", o.Space.Pool), zap.Stringer("block", o.Part))
	}
}

// idle takes at most one part of each space out of the allocator: one that leaves a block's worth of free addresses.
func (e *Exchange) idle(looked func(pool string) bool) (all []*addresses.InFlight) {
	now, pools := wire.Boottime(), e.Config().Pools
	for _, k := range e.addresses.Pools.Keys() {
		if !looked(k.Pool) {
			continue
		}
		p, wanted := pools[k.Pool]
		o := e.addresses.Withdraw(k, func(s *allocator.Space) (netip.Prefix, bool) {
			c := s.Counts()
			for _, part := range s.Idle(now) {
				if wanted && e.addresses.Blocks.IsUnreadable(k.Pool, p.BlockOf(part.Addr())) {
					continue // nobody can write what its record is to be
				}
				if wanted && !p.Draining && !p.InStateful(part.Addr()) && c.Free+c.Released < sizeOf(part)+sizeOf(p.BlockOf(part.Addr())) {
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

// sizeOf is how many a part has.
func sizeOf(p netip.Prefix) int { return 1 << (p.Addr().BitLen() - p.Bits()) }
