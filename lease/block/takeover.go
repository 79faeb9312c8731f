package block

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// TakeOver makes the node the owner of what an absent node has of a block, which is as b says. The caller has waited for
// the absent node's right over stateless addresses, and a tenth of it, since it saw the absence. The parts are marked as
// taken: an address of them is asked for on the wire before its first use. It fails with *LostBlockError where the block
// has changed, with ErrTaken where the node has come back, and as ClaimBlock does.
func TakeOver(ctx context.Context, x *session.Session, b record.Block, poolRevision int64, from record.Absence) (record.Block, error) {
	taken, err := takeOver(ctx, x, b, poolRevision, from)
	if err != nil {
		return taken, fmt.Errorf("lease: take block %s in pool %q from node %q for node %q: %w", b.Prefix, b.Pool, from.Node, x.Name(), err)
	}
	return taken, nil
}

func takeOver(ctx context.Context, x *session.Session, b record.Block, poolRevision int64, from record.Absence) (record.Block, error) {
	if err := x.Entitled(); err != nil {
		return record.Block{}, err
	}
	keys := x.KV().Keys
	key, next := keys.Block(b.Pool, b.Prefix), b
	next.Parts = slices.Clone(b.Parts)
	for i, p := range next.Parts {
		if p.Owner == from.Node {
			next.Parts[i].Owner, next.Parts[i].Taken = x.Name(), true
		}
	}
	t := x.Fenced("take")
	t.IfUnchanged(keys.Pool(b.Pool), poolRevision, record.ErrStaleConfig)
	t.If(record.AbsentFor(x.KV().Keys, from)...)
	t.If(kv.Unchanged(key, b.Revision))
	t.Then(kv.Put(key, next))
	now := t.Else(key)
	if err := x.KV().Settled(ctx, t); err != nil {
		return record.Block{}, err
	}
	switch {
	case t.Done:
		next.Revision = t.Revision()
		return next, nil
	case now.Revision() == b.Revision: // so it is the absence that has ended
		return record.Block{}, ErrTaken
	}
	// It may have changed by this very transaction, whose answer was lost: then what there is, is ours, and nothing of
	// it is on its way any more, since it compares what is past.
	current, err := record.ReadBlock(keys, b.Pool, b.Prefix, now.KVs)
	if err == nil && !slices.ContainsFunc(current.Parts, func(p record.Part) bool { return p.Owner == x.Name() }) {
		err = &LostError{current}
	}
	return current, err
}
