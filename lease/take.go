package lease

import (
	"context"
	"fmt"
	"slices"
)

// TakeBlock makes the node the owner of what an absent node has of a block, which is as b says. The caller has waited for
// the absent node's right over stateless addresses, and a tenth of it, since it saw the absence. The parts are marked as
// taken: an address of them is asked for on the wire before its first use. It fails with *LostBlockError where the block
// has changed, with ErrTaken where the node has come back, and as ClaimBlock does.
func TakeBlock(ctx context.Context, x *Session, b Block, poolRevision int64, from Absence) (Block, error) {
	taken, err := takeBlock(ctx, x, b, poolRevision, from)
	if err != nil {
		return taken, fmt.Errorf("lease: take block %s in pool %q from node %q for node %q: %w", b.Prefix, b.Pool, from.Node, x.Name(), err)
	}
	return taken, nil
}

func takeBlock(ctx context.Context, x *Session, b Block, poolRevision int64, from Absence) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	keys := x.KV().keys
	key, next := keys.block(b.Pool, b.Prefix), b
	next.Parts = slices.Clone(b.Parts)
	for i, p := range next.Parts {
		if p.Owner == from.Node {
			next.Parts[i].Owner, next.Parts[i].Taken = x.Name(), true
		}
	}
	t := x.fenced("take")
	t.IfUnchanged(keys.pool(b.Pool), poolRevision, ErrStaleConfig)
	t.If(absentFor(x.KV().keys, from)...)
	t.If(unchanged(key, b.Revision))
	t.Then(put(key, next))
	now := t.Else(key)
	if err := x.KV().settled(ctx, t); err != nil {
		return Block{}, err
	}
	switch {
	case t.Done:
		next.Revision = t.revision()
		return next, nil
	case now.revision() == b.Revision: // so it is the absence that has ended
		return Block{}, ErrTaken
	}
	// It may have changed by this very transaction, whose answer was lost: then what there is, is ours, and nothing of
	// it is on its way any more, since it compares what is past.
	current, err := keys.readBlock(b.Pool, b.Prefix, now.kvs)
	if err == nil && !slices.ContainsFunc(current.Parts, func(p Part) bool { return p.Owner == x.Name() }) {
		err = &LostBlockError{current}
	}
	return current, err
}
