package lease

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// blockTries bounds how often a block may change under a claim.
const blockTries = 10

// ClaimBlock makes the node the owner of what of a block has none. PoolRevision is the mod revision of the pool's key
// that the choice was made by. Where the node has a part and nothing is left it succeeds, too. It fails with ErrTaken,
// and then Block is what the owners have, with ErrStaleConfig, ErrRecovering, or an error that ends the
// session.
func (x *Session) ClaimBlock(ctx context.Context, pool string, poolRevision int64, block netip.Prefix) (Block, error) {
	b, err := x.claim(ctx, pool, poolRevision, block)
	if err != nil {
		return b, fmt.Errorf("lease: claim block %s in pool %q for node %q: %w", block, pool, x.node.Name, err)
	}
	return b, nil
}

func (x *Session) claim(ctx context.Context, pool string, poolRevision int64, block netip.Prefix) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	if poolRevision <= 0 {
		return Block{}, ErrStaleConfig
	}
	keys := x.store.keys
	free := Block{Pool: pool, Prefix: block}
	key, want, revision := keys.block(pool, block), free.covered(x.node.Name), int64(0)
	for n := 1; ; n++ {
		response, err := x.store.commit(ctx, n, "claim", transaction{
			If:   append(x.Owner(), unchanged(keys.pool(pool), poolRevision), unchanged(key, revision)),
			Then: []clientv3.Op{put(key, want)},
			Else: append(x.ownerGets(), clientv3.OpGet(keys.pool(pool), clientv3.WithKeysOnly()), clientv3.OpGet(key)),
		})
		switch {
		case err != nil && again(ctx, n, err):
			continue
		case err != nil:
			return Block{}, err
		case response.Succeeded:
			want.Revision = response.Header.Revision
			return want, nil
		}
		if err := x.verdict(response); err != nil {
			return Block{}, err
		}
		if revisionOf(found(response, ownerReads)) != poolRevision {
			return Block{}, ErrStaleConfig
		}
		b, err := x.store.keys.readBlock(pool, block, found(response, ownerReads+1))
		if err != nil {
			return Block{}, err
		}
		revision, want = b.Revision, b.covered(x.node.Name)
		// What is ours already may be so by a claim whose answer was lost, or a release may be on its way: only writing
		// it settles which.
		if len(want.Of(x.node.Name)) == 0 || n == blockTries {
			return b, ErrTaken
		}
	}
}

// readBlock reads a block; without a record it is nobody's, and its Revision is 0. One of another size than the pool's
// blocks is damaged.
func (k Keys) readBlock(pool string, block netip.Prefix, kvs []*mvccpb.KeyValue) (Block, error) {
	if len(kvs) == 0 {
		return Block{Pool: pool, Prefix: block}, nil
	}
	b, err := blockForm.read(k, kvs[0])
	if err == nil && b.Prefix != block {
		err = &DamagedError{
			Key: string(kvs[0].Key), At: Key{Kind: KindBlock, Pool: pool, Address: block.Addr()}, Revision: kvs[0].ModRevision,
			Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, block, pool),
		}
		return Block{}, err
	}
	return b, err
}

// ReleaseBlock gives up what of part, a block or a part of one, is the node's. The block is to be as b says. It returns
// what the block is then; its Revision is that of the release, also where nobody owns anything of it any more. Where
// the node has nothing of part any more it succeeds. With a *LostBlockError, ErrSessionLost or ErrReplaced nothing was
// released, and will not be; any other error leaves it in doubt until SettleBlock.
func (x *Session) ReleaseBlock(ctx context.Context, b Block, part netip.Prefix) (Block, error) {
	after, err := x.release(ctx, b, part)
	if err != nil {
		return after, fmt.Errorf("lease: release %s of block %s in pool %q of node %q: %w", part, b.Prefix, b.Pool, x.node.Name, err)
	}
	return after, nil
}

func (x *Session) release(ctx context.Context, b Block, part netip.Prefix) (Block, error) {
	key, rest := x.store.keys.block(b.Pool, b.Prefix), b.moved(part, x.node.Name, "")
	op := put(key, rest)
	if len(rest.Parts) == 0 {
		op = clientv3.OpDelete(key)
	}
	response, err := x.store.settle(ctx, "release", transaction{
		If:   append(x.Owner(), unchanged(key, b.Revision)),
		Then: []clientv3.Op{op},
		Else: append(x.ownerGets(), clientv3.OpGet(key)),
	})
	if err != nil {
		return b, err
	}
	if response.Succeeded {
		rest.Revision = response.Header.Revision
		return rest, nil
	}
	now, err := x.store.keys.readBlock(b.Pool, b.Prefix, found(response, ownerReads))
	switch {
	case err != nil:
		return b, err
	case now.Revision == b.Revision:
		return now, x.verdict(response)
	case slices.ContainsFunc(now.Of(x.node.Name), func(p Part) bool { return p.Prefix.Overlaps(part) }):
		return now, &LostBlockError{Block: now}
	case now.Revision == 0:
		now.Revision = response.Header.Revision
	}
	return now, nil
}

// SettleBlock writes a block that is as b says once more, so that no transaction about it whose answer was lost can be
// carried out any more. It returns what the block is then; Revision 0: it has no record. It fails with an error that
// ends the session.
func (x *Session) SettleBlock(ctx context.Context, b Block) (Block, error) {
	key := x.store.keys.block(b.Pool, b.Prefix)
	response, err := x.store.settle(ctx, "settle", transaction{
		If:   append(x.Owner(), unchanged(key, b.Revision)),
		Then: []clientv3.Op{put(key, b)},
		Else: append(x.ownerGets(), clientv3.OpGet(key)),
	})
	if err == nil && response.Succeeded {
		b.Revision = response.Header.Revision
		return b, nil
	}
	if err == nil {
		err = x.verdict(response)
	}
	if err != nil {
		return b, fmt.Errorf("lease: settle block %s in pool %q for node %q: %w", b.Prefix, b.Pool, x.node.Name, err)
	}
	return x.store.keys.readBlock(b.Pool, b.Prefix, found(response, ownerReads))
}
