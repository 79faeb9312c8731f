package block

import (
	"context"
	"slices"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// TakeOver makes the node the owner of an absent node's parts of a block, which has to be as b says. The caller has waited for the
// absent node's right to stateless addresses, and a tenth, since it saw the absence. The parts are marked as taken over: an
// address of them is probed before its first use. It fails with *LostError where the block has changed, with ErrTaken where the
// absent node has come back, and as Claim does.
func TakeOver(
	ctx context.Context, x *session.Session, b record.Block, poolRevision int64, from record.Absence,
) (_ record.Block, err error) {
	defer named(&err, "take over block %s in pool %q from node %q for node %q", b.Prefix, b.Pool, from.Node, x.Name())
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
	if err := x.KV().Require(ctx, t); err != nil {
		return record.Block{}, err
	}
	switch {
	case t.Done:
		next.Revision = t.Revision()
		return next, nil
	case now.Revision() == b.Revision: // so the absence has ended
		return record.Block{}, ErrTaken
	}
	// This transaction may have changed it, with its answer lost: then the node owns the parts, and no repetition can be carried
	// out any more, since it compares the former revision.
	current, err := record.ReadBlock(keys, b.Pool, b.Prefix, now.KVs)
	if err == nil && !slices.ContainsFunc(current.Parts, func(p record.Part) bool { return p.Owner == x.Name() }) {
		err = &LostError{current}
	}
	return current, err
}
