package addresses

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/session"
)

// A Chooser allocates stateless addresses for ADDs.
type Chooser struct {
	*node.Node
	addresses *Manager
	claims    *Claims
}

// NewChooser makes a chooser over a node's addresses.
func NewChooser(m *Manager, c *Claims) *Chooser {
	return &Chooser{Node: m.Node, addresses: m, claims: c}
}

// Choose allocates one stateless address of each family that the pool gives, or none.
func (ch *Chooser) Choose(ctx context.Context, pool *allocator.Pool, app allocator.App,
	asked []netip.Addr) (grants []allocator.Grant, err error) {
	if len(pool.Giving()) == 0 {
		return nil, wire.Errorf(wire.CodeConfig, "pool %q is being drained: it gives no address any more", pool.Name)
	}
	defer func() {
		if err != nil {
			ch.GiveBack(pool.Name, grants)
			grants = nil
		}
	}()
	for _, f := range pool.Giving() {
		grant, err := ch.chooseOne(ctx, pool, f, app, asked)
		if err != nil {
			return grants, err
		}
		grants = append(grants, grant)
	}
	return grants, nil
}

// GiveBack returns addresses that were never used on a wire.
func (ch *Chooser) GiveBack(pool string, grants []allocator.Grant) {
	for _, g := range grants {
		ch.addresses.Pools.On(pool, g.Address, func(s *allocator.Space) { s.Undo(g.Address) })
		ch.addresses.Freed(SpaceOf(pool, g.Address))
	}
}

func (ch *Chooser) chooseOne(ctx context.Context, pool *allocator.Pool, f allocator.Family, app allocator.App,
	asked []netip.Addr) (allocator.Grant, error) {
	k := SpaceKey{Pool: pool.Name, Family: f}
	for _, addr := range asked {
		if allocator.FamilyOf(addr) == f {
			return ch.chooseAsked(ctx, pool, k, addr)
		}
	}
	if pool.StatelessCount(f) == 0 {
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig,
			"pool %q has no %s address for stateless apps: all of it is stateful, excluded, or the network's own", pool.Name, f)
	}
	if ch.addresses.Waiters.Len(k) == 0 {
		grant, err := ch.tryOne(ctx, k, app)
		if err == nil {
			ch.addresses.Exhausted.ended(pool.Name)
			return grant, nil
		}
		// A quarantine may have ended while the claim waited for etcd.
		if c := ch.addresses.Pools.counts(k); !errors.Is(err, ErrNoBlock) && c.Free+c.Released+c.Quarantined == 0 {
			return grant, noAddress(pool, k, err)
		}
	}
	return ch.await(ctx, pool, k, app)
}

// tryOne allocates one of this node's addresses, and claims a block where none is left. Its error is ErrNoBlock where every block
// has an owner, else why none can be claimed.
func (ch *Chooser) tryOne(ctx context.Context, k SpaceKey, app allocator.App) (allocator.Grant, error) {
	cooling, claimed := false, false
	for {
		grant, outcome := ch.addresses.Pools.allocate(k, app, ch.Clock.Boot(), cooling)
		if outcome == allocator.Taken {
			if claimed {
				grant.Source = sourceClaimed
			}
			ch.claims.keepWarm(k)
			return grant, nil
		}
		err := ch.claims.claimOr(k, outcome == allocator.Cooling || ch.addresses.Pools.counts(k).Quarantined > 0)
		if errors.Is(err, ErrNoBlock) && outcome == allocator.Exhausted {
			err = ch.claims.takeOverFromAbsent(ctx, k) // last, after blocks without an owner
		}
		switch {
		case err == nil:
			claimed = true
		case outcome == allocator.Cooling:
			cooling = true
		default:
			return grant, err
		}
	}
}

// noAddress is the error of an ADD that gets no address.
func noAddress(pool *allocator.Pool, k SpaceKey, why error) error {
	if session.Over(why) || errors.Is(why, node.ErrSuperseded) {
		return node.ErrSuperseded // the node joins again, and the ADD starts again
	}
	if errors.Is(why, ErrNoBlock) {
		return wire.Errorf(wire.CodeTryAgain, "pool %q is exhausted: it has %d addresses of this family for stateless apps, and every "+
			"block has an owner; release some, or add a pool",
			pool.Name, pool.StatelessCount(k.Family))
	}
	return wire.Errorf(wire.CodeTryAgain, "this node has no free address in pool %q and cannot claim a block now: %w", pool.Name, why)
}

// await waits for an address until there is one, the caller gives up, or waitTime is over.
func (ch *Chooser) await(ctx context.Context, pool *allocator.Pool, k SpaceKey, app allocator.App) (allocator.Grant, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	me := ch.addresses.Waiters.Join(k)
	defer func() {
		ch.addresses.Waiters.Leave(k, me)
		ch.addresses.ToGive.Raise()
	}()
	last := error(ErrNoBlock)
	for {
		if ch.addresses.Waiters.first(k, me) {
			grant, err := ch.tryOne(ctx, k, app)
			if err == nil {
				ch.addresses.Exhausted.ended(pool.Name)
				return grant, nil
			}
			last = err
		}
		look := time.NewTimer(ch.addresses.UntilRested(k))
		select {
		case <-me:
		case <-look.C:
		case <-ctx.Done():
			look.Stop()
			if caller.Err() == nil && errors.Is(last, ErrNoBlock) {
				ch.addresses.Exhausted.note(pool.Name, ch.Clock.Boot())
			}
			return allocator.Grant{}, noAddress(pool, k, last)
		}
		look.Stop()
	}
}
