package transfers

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// asksFor reports whether a demand includes all that another asks for.
func asksFor(there, d record.Demand) bool {
	within := func(some, all []netip.Addr) bool {
		return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(all, a) })
	}
	return (d.V4 == 0 || there.V4 > 0) && (d.V6 == 0 || there.V6 > 0) && within(d.Addresses, there.Addresses) &&
		within(d.Machine, there.Machine)
}

// donateAsked gives one free address of those that a demand names, and reports whether the demand has ended.
func (e *Exchange) donateAsked(ctx context.Context, session *session.Session, d record.Demand) (ended bool) {
	for _, addr := range slices.Concat(d.Machine, d.Addresses) {
		o := e.WithdrawAddress(d.Pool, addr)
		if o == nil {
			continue
		}
		after, err := block.Transfer(ctx, session, o.Block, o.Part, d)
		if err != nil && !Definite(err) {
			e.Log.Warn("address transfer outcome unknown; resolving by rewriting the block record", zap.Stringer("address", addr),
				zap.Error(err))
			e.addresses.MarkIndeterminate(o)
			return false
		}
		e.addresses.Resolved(o, after)
		switch {
		case err == nil:
			e.Metrics.Transfer("given")
			e.Log.Info("gave an address that was asked for", zap.String("pool", d.Pool), zap.Stringer("address", addr), zap.String("to", d.Node))
			e.demands.drop(d)
			return true
		case errors.Is(err, block.ErrDemandMet):
			e.demands.drop(d)
			return true
		}
		e.Log.Debug("did not give an address that was asked for", zap.Stringer("address", addr), zap.Error(err))
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
