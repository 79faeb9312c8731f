package addresses

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// takeOverFromAbsent takes over what an absent node owns of some block of the pool, once its right over stateless addresses has
// run out. It returns ErrNoBlock if there is no such block.
func (ch *Chooser) takeOverFromAbsent(ctx context.Context, k SpaceKey) error {
	session, err := ch.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for _, b := range ch.addresses.Blocks.In(k) {
		for _, p := range b.Parts {
			from, _, over := ch.Absences.Over(p.Owner, allocator.Stateless)
			if !over || p.Owner == ch.Name || !ch.givesAddresses(k, b) {
				continue
			}
			err := ch.takeOver(ctx, session, k, b, from)
			if _, lost := errors.AsType[*block.LostError](err); lost || errors.Is(err, block.ErrTaken) {
				break // it has changed: try another block
			}
			return err
		}
	}
	return ErrNoBlock
}

func (ch *Chooser) takeOver(ctx context.Context, session *session.Session, k SpaceKey, b record.Block, from record.Absence) error {
	_, config, err := ch.Pool(k.Pool)
	if err != nil {
		return err
	}
	got, err := block.TakeOver(ctx, session, b, config.PoolRevisions[k.Pool], from)
	if lost, is := errors.AsType[*block.LostError](err); is && lost.Block.Revision > 0 {
		ch.addresses.Blocks.Put(lost.Block)
	}
	if err != nil {
		return err
	}
	ch.Log.Warn("took a block over from an absent node", zap.String("pool", k.Pool), zap.Stringer("block", b.Prefix),
		zap.String("from", from.Node))
	if err := ch.addresses.Own(session, got); err != nil {
		return err
	}
	ch.addresses.clearTakenOver(ctx, got)
	return nil
}

// givesAddresses reports whether a block's pool is not being drained.
func (ch *Chooser) givesAddresses(k SpaceKey, b record.Block) bool {
	pool, _, err := ch.Pool(k.Pool)
	return err == nil && !pool.Draining && pool.BlockOf(b.Prefix.Addr()) == b.Prefix && !ch.addresses.Blocks.IsUnreadable(b.Pool, b.Prefix)
}
