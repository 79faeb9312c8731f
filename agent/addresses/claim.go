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
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// warm is the number of free addresses at which the next block is claimed, so that no ADD waits for it.
const warm = 16

// claimTime bounds the wait for a block.
const claimTime = 5 * time.Second

// Claims make this node the owner of more addresses: of blocks without an owner, and of what absent nodes own.
type Claims struct {
	*node.Node
	addresses *Manager

	under   singleflight.Group
	warming sync.Map // the space keys for which a block is being claimed ahead of need
	failed  sync.Map // by space key, the last failedClaim
}

// NewClaims makes the claims for a node's addresses.
func NewClaims(m *Manager) *Claims { return &Claims{Node: m.Node, addresses: m} }

// ErrNoBlock says that every usable address of the pool has an owner.
var ErrNoBlock = errors.New("every block of the pool has an owner")

// claim makes this node the owner of one more block, unless it has at least enough addresses that no ADD waits for. Concurrent
// callers share one claim.
func (c *Claims) claim(k SpaceKey, enough int) error {
	_, err, _ := c.under.Do(fmt.Sprint(k), func() (any, error) {
		if n := c.addresses.Pools.counts(k); int(n.Free) >= enough {
			return nil, nil
		}
		// Not the caller's context: others wait for this claim too.
		ctx, cancel := context.WithTimeout(context.Background(), claimTime)
		defer cancel()
		err := c.UntilRecovered(c.claimBlock(ctx, k))
		if err == nil || errors.Is(err, ErrNoBlock) {
			c.failed.Delete(k)
		} else {
			c.failed.Store(k, failedClaim{c.Clock.Boot(), err})
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
func (c *Claims) claimOr(k SpaceKey, resting bool) error {
	if failed, ok := c.failed.Load(k); ok && resting && c.Clock.Boot() < failed.(failedClaim).at+claimTime {
		return failed.(failedClaim).err
	}
	return c.claim(k, 1)
}

func (c *Claims) claimBlock(ctx context.Context, k SpaceKey) error {
	session, err := c.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		pool, config, err := c.Pool(k.Pool)
		if err != nil {
			return err
		}
		wanted, ok := c.pickBlock(pool, k)
		if !ok {
			return ErrNoBlock
		}
		got, err := block.Claim(ctx, session, k.Pool, config.PoolRevisions[k.Pool], wanted)
		if bad, is := errors.AsType[*kv.DamagedError](err); is {
			c.addresses.Blocks.NoteUnreadable(bad) // the next call picks another
			continue
		}
		switch {
		case errors.Is(err, block.ErrTaken):
			c.addresses.Blocks.Put(got)
		case errors.Is(err, record.ErrStaleConfig):
			newer, err := c.Store.Config.Read(ctx)
			if err != nil {
				return err
			}
			c.Configure(newer)
			if _, now, _ := c.Pool(k.Pool); now != nil && now.PoolRevisions[k.Pool] == config.PoolRevisions[k.Pool] {
				return unclaimable(now, k.Pool, err)
			}
		case err != nil:
			return err
		default:
			c.Log.Info("claimed a block", zap.String("pool", k.Pool), zap.Stringer("block", got.Prefix))
			return c.addresses.Own(session, got)
		}
	}
	return ctx.Err()
}

// pickBlock picks a block without an owner. It picks one whose key has just been deleted only where there is no other.
func (c *Claims) pickBlock(pool *allocator.Pool, k SpaceKey) (netip.Prefix, bool) {
	blocks := &c.addresses.Blocks
	used := blocks.used(pool)
	block, ok := pool.PickBlock(k.Family, c.Random.Uint64(), func(p netip.Prefix) bool { return used(p) || blocks.hasLeft(pool.Name, p) })
	if ok {
		return block, true
	}
	return pool.PickBlock(k.Family, c.Random.Uint64(), used)
}

// unclaimable says why no block of a pool can be claimed as this node knows the pool.
func unclaimable(c *config.Config, pool string, err error) error {
	if bad := c.BadPool(pool); bad != nil {
		return bad
	}
	return err
}

// keepWarm claims the next block ahead of need, one at a time.
func (c *Claims) keepWarm(k SpaceKey) {
	if n := c.addresses.Pools.counts(k); n.Free+n.Released >= warm {
		return
	}
	if _, already := c.warming.LoadOrStore(k, true); already {
		return
	}
	c.Background.Go(func() {
		defer c.warming.Delete(k)
		if err := c.claim(k, warm); err != nil && !errors.Is(err, ErrNoBlock) {
			c.Log.Debug("no block claimed ahead of need", zap.String("pool", k.Pool), zap.Error(err))
		}
	})
}

// sourceClaimed marks an address for which a block was claimed while its ADD waited.
const sourceClaimed = allocator.Source("claimed")
