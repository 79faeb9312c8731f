package lease

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
)

// AssertBlock makes the node the owner of those parts of a block that nobody owns: what the node holds and etcd has no
// record of. Missing is not lost; another's record stays as it is. It needs no certain state, and returns the block as
// it is then.
func AssertBlock(ctx context.Context, x *Session, pool string, block netip.Prefix, parts []netip.Prefix) (Block, error) {
	b, err := assertBlock(ctx, x, pool, block, parts)
	if err != nil {
		return b, fmt.Errorf("lease: assert block %s in pool %q for node %q: %w", block, pool, x.Name(), err)
	}
	return b, nil
}

func assertBlock(ctx context.Context, x *Session, pool string, block netip.Prefix, parts []netip.Prefix) (Block, error) {
	key, now := x.KV().keys.block(pool, block), Block{Pool: pool, Prefix: block}
	for n := 1; ; n++ {
		next := now
		next.Parts = slices.Clone(now.Parts)
		for _, p := range parts {
			for _, free := range allocator.Subtract(p, prefixesOf(now.Parts)) {
				next.Parts = append(next.Parts, Part{Prefix: free, Owner: x.Name()})
			}
		}
		if next.Parts = canonical(block, next.Parts); now.Revision > 0 && slices.Equal(next.Parts, now.Parts) {
			return now, nil
		}
		t := x.fenced("assert block")
		t.If(unchanged(key, now.Revision))
		t.Then(put(key, next))
		present := t.Else(key)
		if err := x.KV().settled(ctx, t); err != nil {
			return Block{}, err
		}
		if t.Done {
			next.Revision = t.revision()
			return next, nil
		}
		var err error
		if now, err = x.KV().keys.readBlock(pool, block, present.kvs); err != nil {
			return Block{}, err
		}
		if n == blockTries {
			return now, ErrTaken
		}
	}
}
