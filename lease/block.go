package lease

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// blockTries bounds how often a block may change under a claim.
const blockTries = 10

// ClaimBlock makes the node the owner of what of a block has none. PoolRevision is the mod revision of the pool's key
// that the choice was made by. Where the node has a part and nothing is left it succeeds, too. It fails with ErrTaken,
// and then Block is what the owners have, with ErrStaleConfig, ErrRecovering, or an error that ends the
// session.
func ClaimBlock(ctx context.Context, x *Session, pool string, poolRevision int64, block netip.Prefix) (Block, error) {
	b, err := claimBlock(ctx, x, pool, poolRevision, block)
	if err != nil {
		return b, fmt.Errorf("lease: claim block %s in pool %q for node %q: %w", block, pool, x.Name(), err)
	}
	return b, nil
}

func claimBlock(ctx context.Context, x *Session, pool string, poolRevision int64, block netip.Prefix) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	if poolRevision <= 0 {
		return Block{}, ErrStaleConfig
	}
	keys := x.KV().keys
	free := Block{Pool: pool, Prefix: block}
	key, want, revision := keys.block(pool, block), free.covered(x.Name()), int64(0)
	for n := 1; ; n++ {
		t := x.fenced("claim")
		t.IfUnchanged(keys.pool(pool), poolRevision, ErrStaleConfig)
		t.If(unchanged(key, revision))
		t.Then(put(key, want))
		present := t.Else(key)
		if err := x.KV().settled(ctx, t); err != nil {
			return Block{}, err
		}
		if t.Done {
			want.Revision = t.revision()
			return want, nil
		}
		b, err := x.KV().keys.readBlock(pool, block, present.kvs)
		if err != nil {
			return Block{}, err
		}
		revision, want = b.Revision, b.covered(x.Name())
		// What is ours already may be so by a claim whose answer was lost, or a release may be on its way: only writing
		// it settles which.
		if len(want.Of(x.Name())) == 0 || n == blockTries {
			return b, ErrTaken
		}
	}
}

// ReleaseBlock gives up what of part, a block or a part of one, is the node's. The block is to be as b says. It returns
// what the block is then; its Revision is that of the release, also where nobody owns anything of it any more. Where
// the node has nothing of part any more it succeeds. With a *LostBlockError, ErrSessionLost or ErrReplaced nothing was
// released, and will not be; any other error leaves it in doubt until SettleBlock.
func ReleaseBlock(ctx context.Context, x *Session, b Block, part netip.Prefix) (Block, error) {
	after, err := releaseBlock(ctx, x, b, part)
	if err != nil {
		return after, fmt.Errorf("lease: release %s of block %s in pool %q of node %q: %w", part, b.Prefix, b.Pool, x.Name(), err)
	}
	return after, nil
}

func releaseBlock(ctx context.Context, x *Session, b Block, part netip.Prefix) (Block, error) {
	key, rest := x.KV().keys.block(b.Pool, b.Prefix), b.moved(part, x.Name(), "")
	op := put(key, rest)
	if len(rest.Parts) == 0 {
		op = clientv3.OpDelete(key)
	}
	t := x.fenced("release")
	t.If(unchanged(key, b.Revision))
	t.Then(op)
	present := t.Else(key)
	if err := x.KV().settle(ctx, t); err != nil {
		return b, err
	}
	if t.Done {
		rest.Revision = t.revision()
		return rest, nil
	}
	now, err := x.KV().keys.readBlock(b.Pool, b.Prefix, present.kvs)
	switch {
	case err != nil:
		return b, err
	case now.Revision == b.Revision:
		return now, t.Verdict()
	case slices.ContainsFunc(now.Of(x.Name()), func(p Part) bool { return p.Prefix.Overlaps(part) }):
		return now, &LostBlockError{Block: now}
	case now.Revision == 0:
		now.Revision = t.revision()
	}
	return now, nil
}

// SettleBlock writes a block that is as b says once more, so that no transaction about it whose answer was lost can be
// carried out any more. It returns what the block is then; Revision 0: it has no record. It fails with an error that
// ends the session.
func SettleBlock(ctx context.Context, x *Session, b Block) (Block, error) {
	key := x.KV().keys.block(b.Pool, b.Prefix)
	t := x.fenced("settle")
	t.If(unchanged(key, b.Revision))
	t.Then(put(key, b))
	present := t.Else(key)
	if err := x.KV().settled(ctx, t); err != nil {
		return b, fmt.Errorf("lease: settle block %s in pool %q for node %q: %w", b.Prefix, b.Pool, x.Name(), err)
	}
	if t.Done {
		b.Revision = t.revision()
		return b, nil
	}
	return x.KV().keys.readBlock(b.Pool, b.Prefix, present.kvs)
}
