package addresses

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/session"
)

// A Chooser allocates stateless addresses for ADDs, and claims blocks for them.
type Chooser struct {
	*node.Node
	addresses *Manager

	claims    singleflight.Group
	warming   sync.Map // the space keys for which a block is being claimed ahead of need
	unclaimed sync.Map // by space key, the last failedClaim
}

// NewChooser makes a chooser over a node's addresses.
func NewChooser(m *Manager) *Chooser { return &Chooser{Node: m.Node, addresses: m} }

// Choose allocates one stateless address of each of the pool's families, or none.
func (ch *Chooser) Choose(ctx context.Context, pool *allocator.Pool, app allocator.App,
	asked []netip.Addr) (grants []allocator.Grant, err error) {
	if pool.Draining {
		return nil, wire.Errorf(wire.CodeConfig, "pool %q is being drained: it gives no address any more", pool.Name)
	}
	defer func() {
		if err != nil {
			ch.GiveBack(pool.Name, grants)
			grants = nil
		}
	}()
	for _, f := range pool.Families() {
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
		if c := ch.addresses.Pools.Counts(k); !errors.Is(err, ErrNoBlock) && c.Free+c.Released+c.Quarantined == 0 {
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
			ch.keepWarm(k)
			return grant, nil
		}
		err := ch.claimOr(k, outcome == allocator.Cooling || ch.addresses.Pools.Counts(k).Quarantined > 0)
		if errors.Is(err, ErrNoBlock) && outcome == allocator.Exhausted {
			err = ch.takeOverFromAbsent(ctx, k) // last, after blocks without an owner
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

// patience returns a function that pauses, and reports whether a quarantine could still end in time. The time counts from the
// first call, because a claim may have taken long before.
func (ch *Chooser) patience() func(context.Context) bool {
	var end allocator.Instant
	return func(ctx context.Context) bool {
		if end == 0 {
			end = ch.Clock.Boot() + QuarantineIPAM + 100*time.Millisecond
		}
		task.Pause(ctx, 20*time.Millisecond)
		return ctx.Err() == nil && ch.Clock.Boot() < end
	}
}

// chooseAsked allocates the requested address, and claims its block where it has no owner.
func (ch *Chooser) chooseAsked(ctx context.Context, pool *allocator.Pool, k SpaceKey, addr netip.Addr) (allocator.Grant, error) {
	switch {
	case !pool.Contains(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig, "address %s was asked for, and pool %q has %v", addr, pool.Name, pool.CIDRs)
	case pool.InStateful(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig,
			"address %s was asked for by a stateless container, and lies in a stateful range of pool %q", addr, pool.Name)
	case !pool.Usable(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig,
			"address %s was asked for, and is the network's, the gateway's or excluded in pool %q", addr, pool.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	patience := ch.patience()
	for {
		grant, err := ch.addresses.Pools.allocateAddress(k, addr, ch.Clock.Boot())
		switch {
		case err == nil:
			return grant, nil
		case errors.Is(err, allocator.ErrQuarantined) && patience(ctx):
			continue
		case errors.Is(err, allocator.ErrHeld):
			return grant, wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and is held by %s", addr, ch.nameHolder(pool.Name, addr))
		case !errors.Is(err, allocator.ErrNotOwned):
			return grant, wire.Errorf(wire.CodeTryAgain, "address %s was asked for: %w", addr, err)
		}
		if err := ch.claimFor(ctx, pool, k, addr); err != nil {
			return grant, err
		}
	}
}

func (ch *Chooser) nameHolder(pool string, addr netip.Addr) string {
	if e := ch.Journal.Holder(pool, addr); e != nil {
		return e.Attachment.String()
	}
	return "a request that is under way"
}
