package block

import (
	"context"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Assert makes the node the owner of those parts of a block that the node holds and that have no owner in etcd. Another node's
// record stays as it is. It works during a recovery, too, and returns the block as it is then.
func Assert(ctx context.Context, x *session.Session, pool string, block netip.Prefix, parts []netip.Prefix) (_ record.Block, err error) {
	defer named(&err, "assert block %s in pool %q for node %q", block, pool, x.Name())
	key, now := x.KV().Keys.Block(pool, block), record.Block{Pool: pool, Prefix: block}
	for n := 1; ; n++ {
		next := now
		next.Parts = slices.Clone(now.Parts)
		for _, p := range parts {
			for _, free := range allocator.Subtract(p, record.PrefixesOf(now.Parts)) {
				next.Parts = append(next.Parts, record.Part{Prefix: free, Owner: x.Name()})
			}
		}
		if next.Parts = record.Canonical(next.Parts); slices.Equal(next.Parts, now.Parts) {
			return now, nil
		}
		t := x.Fenced("assert block")
		t.If(kv.Unchanged(key, now.Revision))
		t.Then(kv.Put(key, next))
		present := t.Else(key)
		if err := x.KV().Require(ctx, t); err != nil {
			return record.Block{}, err
		}
		if t.Done {
			next.Revision = t.Revision()
			return next, nil
		}
		var err error
		if now, err = record.ReadBlock(x.KV().Keys, pool, block, present.KVs); err != nil {
			return record.Block{}, err
		}
		if n == maxTries {
			return now, ErrTaken
		}
	}
}
