package transfers

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

const (
	startWithin   = 30 * time.Millisecond // owners answer a demand at different times, so that the first one spares the others
	settleEvery   = time.Second           // how often indeterminate transfers are resolved
	transferTries = 10                    // attempts, where the block changes meanwhile
)

// donateAll serves demands whenever there may be something to give: a new demand, a freed address, the end of a quarantine. It
// also resolves indeterminate transfers.
func (e *Exchange) donateAll(ctx context.Context) error {
	timer := time.NewTimer(settleEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.addresses.ToGive:
		case <-timer.C:
		}
		e.resolveIndeterminate(ctx)
		wait := settleEvery
		if _, others := e.demands.split(e.Name); len(others) > 0 {
			task.Pause(ctx, e.Random.Below(startWithin))
			wait = e.serveDemands(ctx)
		}
		timer.Reset(wait)
	}
}

// serveDemands serves what it can, and returns when to try again.
func (e *Exchange) serveDemands(ctx context.Context) time.Duration {
	wait := settleEvery
	session, err := e.Holding(allocator.Stateless)
	if err != nil {
		return wait
	}
	_, others := e.demands.split(e.Name)
	for _, d := range others {
		if e.donateAsked(ctx, session, d) {
			continue // the demand is met; a further one is made if ADDs still wait
		}
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			k := addresses.SpaceKey{Pool: d.Pool, Family: f}
			if d.Of(f) == 0 {
				continue
			}
			if e.Donate(ctx, session, d, k) {
				break // the demand is met; a further one is made if ADDs still wait
			}
			wait = min(wait, e.addresses.UntilRested(k))
		}
	}
	return wait
}

// Donate gives half of what this node can spare to the node that demands it, and reports whether the demand has ended.
func (e *Exchange) Donate(ctx context.Context, session *session.Session, d record.Demand, k addresses.SpaceKey) (ended bool) {
	full := e.addresses.Blocks.UnreadableIn(k.Pool, e.Config()) // and blocks that cannot be split further
	for range transferTries {
		o := e.addresses.Withdraw(k, func(s *allocator.Space) (netip.Prefix, bool) {
			return s.Half(e.Clock.Boot(), e.addresses.Waiters.Len(k), full...)
		})
		if o == nil {
			return false
		}
		ended, err := e.transfer(ctx, session, o, d)
		switch _, changed := errors.AsType[*block.LostError](err); {
		case ended:
			return true
		case errors.Is(err, block.ErrManyParts):
			full = append(full, o.Block.Prefix)
		case !changed:
			return false
		}
	}
	return false
}

// transfer makes a withdrawn part the demanding node's, and reports whether the demand has ended. It leaves a part in flight whose
// transaction's outcome is unknown; see Definite.
func (e *Exchange) transfer(ctx context.Context, s *session.Session, o *addresses.InFlight, d record.Demand) (ended bool, err error) {
	after, err := block.Transfer(ctx, s, o.Block, o.Part, d)
	if err != nil && !Definite(err) {
		e.Log.Warn("block transfer outcome unknown; resolving by rewriting the block record", zap.Stringer("part", o.Part), zap.Error(err))
		e.addresses.MarkIndeterminate(o)
		return false, err
	}
	e.addresses.Resolved(o, after)
	if err == nil {
		e.Metrics.Transfer("given")
		e.Log.Info("gave addresses", zap.String("pool", d.Pool), zap.Stringer("part", o.Part), zap.String("to", d.Node))
	}
	if err == nil || errors.Is(err, block.ErrDemandMet) {
		e.demands.drop(d)
		return true, nil
	}
	e.Log.Debug("gave nothing", zap.Stringer("part", o.Part), zap.Error(err))
	return false, err
}

// Definite reports whether a transfer or release that failed with this error was not carried out, and never will be.
func Definite(err error) bool {
	_, changed := errors.AsType[*block.LostError](err)
	return changed || session.Over(err) || errors.Is(err, session.ErrRecovering) ||
		errors.Is(err, block.ErrDemandMet) || errors.Is(err, block.ErrManyParts)
}

// resolveIndeterminate rewrites the blocks of indeterminate transfers. A transaction that was not carried out before cannot
// succeed after that.
func (e *Exchange) resolveIndeterminate(ctx context.Context) {
	for _, o := range e.addresses.Indeterminate() {
		session, err := e.Holding(allocator.Stateless)
		if err != nil {
			return
		}
		now, err := block.Resolve(ctx, session, o.Block)
		if err != nil {
			e.Log.Debug("cannot resolve a block transfer yet", zap.Stringer("part", o.Part), zap.Error(err))
			continue
		}
		e.addresses.Resolved(o, now)
		e.Log.Info("resolved a block transfer", zap.Stringer("part", o.Part), zap.String("owner", now.OwnerOf(o.Part.Addr())))
	}
}

// donateAsked gives one address of those that a demand names, and reports whether the demand has ended. One that a machine has is
// given if no container has it, since resting keeps it from containers alone; one for a container is given if it is free.
func (e *Exchange) donateAsked(ctx context.Context, session *session.Session, d record.Demand) (ended bool) {
	for i, addr := range slices.Concat(d.Machine, d.Addresses) {
		withdraw := e.WithdrawAddress
		if i < len(d.Machine) {
			withdraw = e.WithdrawUnheld
		}
		o := withdraw(d.Pool, addr)
		if o == nil {
			continue
		}
		if ended, err := e.transfer(ctx, session, o, d); ended || !Definite(err) {
			return ended
		}
	}
	return false
}

// WithdrawAddress takes one address out of the allocator if it is free, and marks it as in flight; nil: it is not free.
func (e *Exchange) WithdrawAddress(pool string, addr netip.Addr) *addresses.InFlight {
	part := netip.PrefixFrom(addr, addr.BitLen())
	return e.addresses.Withdraw(addresses.SpaceOf(pool, addr), func(s *allocator.Space) (netip.Prefix, bool) {
		s.Settle(e.Clock.Boot())
		return part, s.Owns(addr) && s.Remove(part) == nil
	})
}

// WithdrawUnheld removes an address that a machine itself has from the allocator, also one that rests, if no container has it.
func (e *Exchange) WithdrawUnheld(pool string, addr netip.Addr) *addresses.InFlight {
	part := netip.PrefixFrom(addr, addr.BitLen())
	return e.addresses.Withdraw(addresses.SpaceOf(pool, addr), func(s *allocator.Space) (netip.Prefix, bool) {
		if !s.Owns(addr) || s.Holds(addr) {
			return part, false
		}
		s.Drop(part)
		return part, true
	})
}
