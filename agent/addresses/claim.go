package addresses

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

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

// sourceClaimed marks an address for which a block was claimed while its ADD waited.
const sourceClaimed = allocator.Source("claimed")
