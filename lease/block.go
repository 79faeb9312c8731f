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

// stateful reports whether the whole block is kept for reservations.
func (b *Block) stateful() bool { return b.ownedBy(OwnerStateful) }

func (b *Block) ownedBy(owner string) bool {
	return len(b.Parts) > 0 && !slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Owner != owner })
}

// ClaimBlock makes the node the owner of a block that has none. PoolRevision is the mod revision of the pool's key that
// the choice was made by. Claiming what the node owns already succeeds. It fails with ErrTaken, and then Block is what
// the owner has, with ErrStaleConfig, ErrRecovering, or an error that ends the session.
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
	key, want, revision := keys.block(pool, block), Block{Pool: pool, Prefix: block, Parts: []Part{{Prefix: block, Owner: x.node.Name}}}, int64(0)
	for n := 1; ; n++ {
		response, err := x.store.commit(ctx, "claim", transaction{
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
		revision = revisionOf(found(response, ownerReads+1))
		if revision > 0 {
			b, err := blockForm.read(keys, found(response, ownerReads+1)[0])
			if err != nil {
				return Block{}, err
			}
			if !b.ownedBy(x.node.Name) || n == blockTries {
				return b, ErrTaken
			}
			// Ours by a claim whose answer was lost, or a release may be on its way: only writing it settles which.
			want = b
		}
	}
}

// ReleaseBlock gives up the node's parts of a block, which is to be as b says. One that the node has no part of any
// more is a success; one that has changed otherwise is a *LostBlockError.
func (x *Session) ReleaseBlock(ctx context.Context, b Block) error {
	key := x.store.keys.block(b.Pool, b.Prefix)
	rest := b
	rest.Parts = slices.DeleteFunc(slices.Clone(b.Parts), func(p Part) bool { return p.Owner == x.node.Name })
	op := put(key, rest)
	if len(rest.Parts) == 0 {
		op = clientv3.OpDelete(key)
	}
	response, err := x.store.settle(ctx, "release", transaction{
		If:   append(x.Owner(), unchanged(key, b.Revision)),
		Then: []clientv3.Op{op},
		Else: append(x.ownerGets(), clientv3.OpGet(key)),
	})
	if err == nil && !response.Succeeded {
		if err = x.verdict(response); err == nil {
			err = x.stillOwned(found(response, ownerReads))
		}
	}
	if err != nil {
		return fmt.Errorf("lease: release block %s in pool %q of node %q: %w", b.Prefix, b.Pool, x.node.Name, err)
	}
	return nil
}

func (x *Session) stillOwned(kvs []*mvccpb.KeyValue) error {
	if len(kvs) == 0 {
		return nil
	}
	b, err := blockForm.read(x.store.keys, kvs[0])
	if err == nil && slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Owner == x.node.Name }) {
		return &LostBlockError{Block: b}
	}
	return err
}
