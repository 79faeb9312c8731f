package addresses

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
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

// warm is the number of free addresses at which the next block is claimed, so that no ADD waits for it.
const warm = 16

// claimTime bounds the wait for a block.
const claimTime = 5 * time.Second

// ErrNoBlock says that every usable address of the pool has an owner.
var ErrNoBlock = errors.New("every block of the pool has an owner")

// claim makes this node the owner of one more block, unless it has at least enough addresses that no ADD waits for. Concurrent
// callers share one claim.
func (ch *Chooser) claim(k SpaceKey, enough int) error {
	_, err, _ := ch.claims.Do(fmt.Sprint(k), func() (any, error) {
		if c := ch.addresses.Pools.Counts(k); int(c.Free) >= enough {
			return nil, nil
		}
		// Not the caller's context: others wait for this claim too.
		ctx, cancel := context.WithTimeout(context.Background(), claimTime)
		defer cancel()
		err := ch.UntilRecovered(ch.claimBlock(ctx, k))
		if err == nil || errors.Is(err, ErrNoBlock) {
			ch.unclaimed.Delete(k)
		} else {
			ch.unclaimed.Store(k, failedClaim{ch.Clock.Boot(), err})
		}
		return nil, err
	})
	return err
}

// A failedClaim is one that etcd has not answered, or has refused.
type failedClaim struct {
	at  allocator.Instant
	err error
}

// claimOr is claim for an ADD that can also use released addresses. For a while after a failed claim it does not try another.
func (ch *Chooser) claimOr(k SpaceKey, resting bool) error {
	if failed, ok := ch.unclaimed.Load(k); ok && resting && ch.Clock.Boot() < failed.(failedClaim).at+claimTime {
		return failed.(failedClaim).err
	}
	return ch.claim(k, 1)
}

func (ch *Chooser) claimBlock(ctx context.Context, k SpaceKey) error {
	session, err := ch.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		pool, config, err := ch.Pool(k.Pool)
		if err != nil {
			return err
		}
		wanted, ok := ch.pickBlock(pool, k)
		if !ok {
			return ErrNoBlock
		}
		got, err := block.Claim(ctx, session, k.Pool, config.PoolRevisions[k.Pool], wanted)
		if bad, is := errors.AsType[*kv.DamagedError](err); is {
			ch.addresses.Blocks.NoteUnreadable(bad) // the next call picks another
			continue
		}
		switch {
		case errors.Is(err, block.ErrTaken):
			ch.addresses.Blocks.Put(got)
		case errors.Is(err, record.ErrStaleConfig):
			newer, err := ch.Store.Config.Read(ctx)
			if err != nil {
				return err
			}
			ch.Configure(newer)
			if _, now, _ := ch.Pool(k.Pool); now != nil && now.PoolRevisions[k.Pool] == config.PoolRevisions[k.Pool] {
				return unclaimable(now, k.Pool, err)
			}
		case err != nil:
			return err
		default:
			ch.Log.Info("claimed a block", zap.String("pool", k.Pool), zap.Stringer("block", got.Prefix))
			return ch.addresses.Own(session, got)
		}
	}
	return ctx.Err()
}

// pickBlock picks a block without an owner. It picks one whose key has just been deleted only where there is no other.
func (ch *Chooser) pickBlock(pool *allocator.Pool, k SpaceKey) (netip.Prefix, bool) {
	blocks := &ch.addresses.Blocks
	used := blocks.used(pool)
	block, ok := pool.PickBlock(k.Family, ch.Random.Uint64(), func(p netip.Prefix) bool { return used(p) || blocks.hasLeft(pool.Name, p) })
	if ok {
		return block, true
	}
	return pool.PickBlock(k.Family, ch.Random.Uint64(), used)
}

// unclaimable says why no block of a pool can be claimed as this node knows the pool.
func unclaimable(c *config.Config, pool string, err error) error {
	if bad := c.BadPool(pool); bad != nil {
		return bad
	}
	return err
}

// Own adds a claimed block to the allocator, if the claim's session is still the node's; else settling has added it.
func (m *Manager) Own(session *session.Session, b record.Block) error {
	return m.Gate.Commit(session, func() error {
		m.Blocks.Put(b)
		m.Reconcile(b.ID())
		return nil
	})
}

// keepWarm claims the next block ahead of need, one at a time.
func (ch *Chooser) keepWarm(k SpaceKey) {
	if c := ch.addresses.Pools.Counts(k); c.Free+c.Released >= warm {
		return
	}
	if _, already := ch.warming.LoadOrStore(k, true); already {
		return
	}
	ch.Background.Go(func() {
		defer ch.warming.Delete(k)
		if err := ch.claim(k, warm); err != nil && !errors.Is(err, ErrNoBlock) {
			ch.Log.Debug("no block claimed ahead of need", zap.String("pool", k.Pool), zap.Error(err))
		}
	})
}

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

// claimFor claims the block of a requested address. It demands the address of the node that owns its part, if another does.
func (ch *Chooser) claimFor(wait context.Context, pool *allocator.Pool, k SpaceKey, addr netip.Addr) error {
	session, err := ch.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Claim(ctx, session, pool.Name, ch.Config().PoolRevisions[pool.Name], pool.BlockOf(addr))
	if err != nil && !errors.Is(err, block.ErrTaken) {
		return wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and its block cannot be claimed now: %w", addr, err)
	}
	if err := ch.addresses.Own(session, b); err != nil {
		return err
	}
	owned := false
	ch.addresses.Pools.With(k, func(s *allocator.Space) { owned = s.Owns(addr) })
	switch {
	case owned:
		return nil
	case b.OwnerOf(addr) == ch.Name:
		return wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and its block is not settled on this node yet", addr)
	}
	for _, p := range b.Machines() {
		if p.Prefix.Contains(addr) {
			return wire.Errorf(wire.CodeConfig, "address %s was asked for, and is an address of node %s itself", addr, p.Node)
		}
	}
	return ch.awaitAddress(wait, k, addr)
}

func (ch *Chooser) nameHolder(pool string, addr netip.Addr) string {
	if e := ch.Journal.Holder(pool, addr); e != nil {
		return e.Attachment.String()
	}
	return "a request that is under way"
}

// sourceClaimed marks an address for which a block was claimed while its ADD waited.
const sourceClaimed = allocator.Source("claimed")
