package addresses

import (
	"context"
	"errors"
	"net/netip"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// takeOverFromAbsent takes over what an absent node owns of some block of the pool, once its right over stateless addresses has
// run out. It returns ErrNoBlock if there is no such block.
func (c *Claims) takeOverFromAbsent(ctx context.Context, k SpaceKey) error {
	session, err := c.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for _, b := range c.addresses.Blocks.in(k) {
		for _, p := range b.Parts {
			from, _, over := c.Absences.Over(p.Owner, allocator.Stateless)
			if !over || p.Owner == c.Name || !c.givesAddresses(k, b) {
				continue
			}
			err := c.takeOver(ctx, session, k, b, from)
			if _, lost := errors.AsType[*block.LostError](err); lost || errors.Is(err, block.ErrTaken) {
				break // it has changed: try another block
			}
			return err
		}
	}
	return ErrNoBlock
}

func (c *Claims) takeOver(ctx context.Context, session *session.Session, k SpaceKey, b record.Block, from record.Absence) error {
	_, config, err := c.Pool(k.Pool)
	if err != nil {
		return err
	}
	got, err := block.TakeOver(ctx, session, b, config.PoolRevisions[k.Pool], from)
	if lost, is := errors.AsType[*block.LostError](err); is && lost.Block.Revision > 0 {
		c.addresses.Blocks.Put(lost.Block)
	}
	if err != nil {
		return err
	}
	c.Log.Warn("took a block over from an absent node", zap.String("pool", k.Pool), zap.Stringer("block", b.Prefix),
		zap.String("from", from.Node))
	if err := c.addresses.Own(session, got); err != nil {
		return err
	}
	c.addresses.tookOver.Raise()
	return nil
}

// givesAddresses reports whether neither a block's pool nor its CIDR is being drained.
func (c *Claims) givesAddresses(k SpaceKey, b record.Block) bool {
	pool, _, err := c.Pool(k.Pool)
	return err == nil && !pool.Drains(b.Prefix.Addr()) && pool.BlockOf(b.Prefix.Addr()) == b.Prefix &&
		!c.addresses.Blocks.IsUnreadable(b.Pool, b.Prefix)
}

// TakeOverBlockOf takes over what an absent node owns of an address's block once its right has run out; else it returns
// ErrNoBlock.
func (c *Claims) TakeOverBlockOf(ctx context.Context, k SpaceKey, addr netip.Addr) error {
	pool, _, err := c.Pool(k.Pool)
	if err != nil {
		return err
	}
	b, known := c.addresses.Blocks.Of(pool, addr)
	from, _, over := c.Absences.Over(b.OwnerOf(addr), allocator.Stateless)
	if !known || !over {
		return ErrNoBlock
	}
	session, err := c.Holding(allocator.Stateless)
	if err == nil {
		err = c.takeOver(ctx, session, k, b, from)
	}
	if _, lost := errors.AsType[*block.LostError](err); lost || errors.Is(err, block.ErrTaken) {
		return ErrNoBlock
	}
	return err
}
