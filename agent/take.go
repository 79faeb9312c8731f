package agent

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
)

// takeAbsent makes this node the owner of what an absent node has in some block of the pool, once that node's right over
// stateless addresses has run out. It is errNoBlock if there is no such block.
func (a *Agent) takeAbsent(ctx context.Context, k spaceKey) error {
	session, err := a.holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for _, b := range a.blocks.in(k) {
		for _, p := range b.Parts {
			from, _, over := a.absences.over(p.Owner, allocator.Stateless)
			if !over || p.Owner == a.Node || !a.givesAddresses(k, b) {
				continue
			}
			err := a.takeBlock(ctx, session, k, b, from)
			if _, lost := errors.AsType[*lease.LostBlockError](err); lost || errors.Is(err, lease.ErrTaken) {
				break // it has changed: another block, or none
			}
			return err
		}
	}
	return errNoBlock
}

func (a *Agent) takeBlock(ctx context.Context, session *lease.Session, k spaceKey, b lease.Block, from lease.Absence) error {
	_, config, err := a.pool(k.pool)
	if err != nil {
		return err
	}
	got, err := lease.TakeBlock(ctx, session, b, config.PoolRevisions[k.pool], from)
	if lost, is := errors.AsType[*lease.LostBlockError](err); is && lost.Block.Revision > 0 {
		a.blocks.put(lost.Block)
	}
	if err != nil {
		return err
	}
	a.Log.Warn("took a block from a node that is away", zap.String("pool", k.pool), zap.Stringer("block", b.Prefix),
		zap.String("from", from.Node))
	if err := a.own(session, got); err != nil {
		return err
	}
	a.clearTaken(ctx, got)
	return nil
}

// givesAddresses reports whether a pool may give addresses of a block: it is not drained.
func (a *Agent) givesAddresses(k spaceKey, b lease.Block) bool {
	pool, _, err := a.pool(k.pool)
	return err == nil && !pool.Draining && pool.BlockOf(b.Prefix.Addr()) == b.Prefix && !a.blocks.isHidden(b.Pool, b.Prefix)
}
