package lease

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// absentFor compares that a node is still away: its session key is absent, and no return has rewritten its node key.
func (s *Store) absentFor(a Absence) []clientv3.Cmp {
	return []clientv3.Cmp{absent(s.keys.session(a.Node)), unchanged(s.keys.node(a.Node), a.Revision)}
}

// TakeBlock makes the node the owner of what an absent node has of a block, which is as b says. The caller has waited for
// the absent node's right over stateless addresses, and a tenth of it, since it saw the absence. The parts are marked as
// taken: an address of them is asked for on the wire before its first use. It fails with *LostBlockError where the block
// has changed, with ErrTaken where the node has come back, and as ClaimBlock does.
func (x *Session) TakeBlock(ctx context.Context, b Block, poolRevision int64, from Absence) (Block, error) {
	taken, err := x.take(ctx, b, poolRevision, from)
	if err != nil {
		return taken, fmt.Errorf("lease: take block %s in pool %q from node %q for node %q: %w", b.Prefix, b.Pool, from.Node, x.node.Name, err)
	}
	return taken, nil
}

func (x *Session) take(ctx context.Context, b Block, poolRevision int64, from Absence) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	keys := x.store.keys
	key, next := keys.block(b.Pool, b.Prefix), b
	next.Parts = slices.Clone(b.Parts)
	for i, p := range next.Parts {
		if p.Owner == from.Node {
			next.Parts[i].Owner, next.Parts[i].Taken = x.node.Name, true
		}
	}
	response, err := x.store.settle(ctx, "take", transaction{
		If: slices.Concat(x.Owner(), x.store.absentFor(from), []clientv3.Cmp{
			unchanged(keys.pool(b.Pool), poolRevision), unchanged(key, b.Revision)}),
		Then: []clientv3.Op{put(key, next)},
		Else: append(x.ownerGets(), clientv3.OpGet(keys.pool(b.Pool), clientv3.WithKeysOnly()), clientv3.OpGet(key)),
	})
	switch {
	case err != nil:
		return Block{}, err
	case response.Succeeded:
		next.Revision = response.Header.Revision
		return next, nil
	}
	if err := x.verdict(response); err != nil {
		return Block{}, err
	}
	now := found(response, ownerReads+1)
	switch {
	case revisionOf(found(response, ownerReads)) != poolRevision:
		return Block{}, ErrStaleConfig
	case revisionOf(now) == b.Revision:
		return Block{}, ErrTaken
	}
	// It may have changed by this very transaction, whose answer was lost: then what there is, is ours, and nothing of
	// it is on its way any more, since it compares what is past.
	current, err := keys.readBlock(b.Pool, b.Prefix, now)
	if err == nil && !slices.ContainsFunc(current.Parts, func(p Part) bool { return p.Owner == x.node.Name }) {
		err = &LostBlockError{current}
	}
	return current, err
}
