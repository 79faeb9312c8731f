package transfers

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
)

const (
	giveBackEvery = 10 * time.Second       // how often unneeded blocks are returned
	drainEvery    = 200 * time.Millisecond // how often while a pool is drained
)

// giveBackIdle returns the blocks in which nothing is held or kept for its app, as long as one block's worth of addresses
// remains. Of a removed pool and in stateful ranges it returns all; of a drained pool or CIDR it does so at once.
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
		drained := func(pool string) bool { p, there := e.Config().Pools[pool]; return !there || drains(&p) }
		if time.Since(last) >= giveBackEvery {
			last, drained = time.Now(), func(string) bool { return true }
		}
		e.GiveBackBlocks(ctx, drained)
	}
}

// drains reports whether this node owns addresses of a pool or a CIDR that is drained.
func (e *Exchange) drains() (found bool) {
	pools := e.Config().Pools
	e.addresses.Pools.Each(func(k addresses.SpaceKey, s *allocator.Space) {
		pool := pools[k.Pool]
		drained := func(b netip.Prefix) bool { return pool.Drains(b.Addr()) }
		found = found || drains(&pool) && slices.ContainsFunc(s.Blocks(), drained)
	})
	return found
}

// drains reports whether something of a pool is drained.
func drains(p *allocator.Pool) bool { return p.Draining || len(p.DrainingCIDRs) > 0 }

// GiveBackBlocks returns the idle blocks of the pools that looked picks.
func (e *Exchange) GiveBackBlocks(ctx context.Context, looked func(pool string) bool) {
	session, err := e.Holding(allocator.Stateless)
	if err != nil || e.backlog.Len() > 0 {
		return // a block's assignments in etcd must be current before its owner changes
	}
	for _, o := range e.idle(looked) {
		after, err := block.Release(ctx, session, o.Block, o.Part)
		if err != nil && !Definite(err) {
			e.Log.Warn("block return outcome unknown; resolving by rewriting the block record", zap.Stringer("block", o.Part), zap.Error(err))
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

// idle withdraws at most one part of each space: one that leaves a block's worth of free addresses.
func (e *Exchange) idle(looked func(pool string) bool) (all []*addresses.InFlight) {
	now, pools := e.Clock.Boot(), e.Config().Pools
	for _, k := range e.addresses.Pools.Keys() {
		if !looked(k.Pool) {
			continue
		}
		p, wanted := pools[k.Pool]
		o := e.addresses.Withdraw(k, func(s *allocator.Space) (netip.Prefix, bool) {
			c := s.Counts()
			for _, part := range s.Idle(now) {
				if wanted && e.addresses.Blocks.IsUnreadable(k.Pool, p.BlockOf(part.Addr())) {
					continue // its record is unreadable and cannot be rewritten
				}
				if wanted && keeps(&p, part) && c.Free+c.Released < sizeOf(part)+sizeOf(p.BlockOf(part.Addr())) {
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

// keeps reports whether a part that nobody uses is worth keeping: stateless containers may be given addresses of it.
func keeps(p *allocator.Pool, part netip.Prefix) bool {
	return p.Contains(part.Addr()) && !p.Drains(part.Addr()) && !p.InStateful(part.Addr())
}

// sizeOf is the number of addresses of a part.
func sizeOf(p netip.Prefix) int { return 1 << (p.Addr().BitLen() - p.Bits()) }
