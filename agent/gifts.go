package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

const (
	startWithin = 30 * time.Millisecond // owners answer a demand at different times, so that the first one spares the others
	settleEvery = time.Second           // how often what is in doubt is looked at
	giveTries   = 10                    // how often a block may change under a gift
)

// giveAll gives to the nodes that demand addresses whenever there may be something to give: a demand has come, an
// address was freed, a quarantine has ended. It also settles what is in doubt.
func (a *Agent) giveAll(ctx context.Context) error {
	timer := time.NewTimer(settleEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.giving:
		case <-timer.C:
		}
		a.settleDoubts(ctx)
		wait := settleEvery
		if _, others := a.demands.split(a.Node); len(others) > 0 {
			task.Pause(ctx, rand.N(startWithin))
			wait = a.meetDemands(ctx)
		}
		timer.Reset(wait)
	}
}

// meetDemands gives what it can, and returns when to look again.
func (a *Agent) meetDemands(ctx context.Context) time.Duration {
	wait := settleEvery
	session, err := a.holding(allocator.Stateless)
	if err != nil || broken.Settling && a.unsettled.Load() {
		return wait
	}
	_, others := a.demands.split(a.Node)
	for _, d := range others {
		if a.giveAsked(ctx, session, d) {
			continue // the demand is met: what is still waited for is demanded anew
		}
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			k := spaceKey{d.Pool, f}
			if d.Of(f) == 0 {
				continue
			}
			if a.give(ctx, session, d, k) {
				break // the demand is met: what is still waited for is demanded anew
			}
			wait = min(wait, a.untilRested(k))
		}
	}
	return wait
}

// give gives half of what this node can spare to whoever demands it, and reports whether the demand has ended.
func (a *Agent) give(ctx context.Context, session *session.Session, d record.Demand, k spaceKey) (ended bool) {
	full := a.blocks.hiddenIn(k.pool, a.config.Load()) // and blocks that cannot be split further
	for range giveTries {
		o := a.takeOut(k, func(s *allocator.Space) (netip.Prefix, bool) {
			return s.Half(wire.Boottime(), a.waiters.len(k), full...)
		})
		if o == nil {
			return false
		}
		after, err := block.Transfer(ctx, session, o.block, o.part, d)
		if err != nil && !definite(err) {
			a.Log.Warn("a gift is in doubt", zap.Stringer("part", o.part), zap.Error(err))
			a.doubt(o)
			return false
		}
		a.arrived(o, after)
		switch _, changed := errors.AsType[*block.LostError](err); {
		case err == nil:
			a.metrics.Gift("given")
			a.Log.Info("gave addresses", zap.String("pool", k.pool), zap.Stringer("part", o.part), zap.String("to", d.Node))
			a.demands.drop(d)
			return true
		case errors.Is(err, block.ErrDemandMet):
			a.demands.drop(d)
			return true
		case errors.Is(err, block.ErrManyParts):
			full = append(full, o.block.Prefix)
		case !changed:
			a.Log.Debug("gave nothing", zap.Stringer("part", o.part), zap.Error(err))
			return false
		}
	}
	return false
}

// definite reports whether a gift or a release that has failed so was not carried out, and never will be.
func definite(err error) bool {
	_, changed := errors.AsType[*block.LostError](err)
	return changed || session.Over(err) || errors.Is(err, session.ErrRecovering) ||
		errors.Is(err, block.ErrDemandMet) || errors.Is(err, block.ErrManyParts)
}

// settleDoubts finds out what has become of the parts whose transaction's answer was lost, by writing the block: what
// was not carried out by then never is.
func (a *Agent) settleDoubts(ctx context.Context) {
	for _, o := range a.doubts() {
		session, err := a.holding(allocator.Stateless)
		if err != nil {
			return
		}
		now, err := block.Resolve(ctx, session, o.block)
		if err != nil {
			a.Log.Debug("what has become of a part stays in doubt", zap.Stringer("part", o.part), zap.Error(err))
			continue
		}
		a.arrived(o, now)
		a.Log.Info("settled what was in doubt", zap.Stringer("part", o.part), zap.String("owner", now.OwnerOf(o.part.Addr())))
	}
}
