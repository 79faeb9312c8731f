package lease

import (
	"context"
	"net/netip"
)

// A blockStore is who owns which block.
type blockStore struct {
	kv    *Client
	learn func(Update[Block])
}

// newBlockStore has learn called with all that FollowBlocks reads, before anybody else; nil: nobody learns.
func newBlockStore(kv *Client, learn func(Update[Block])) *blockStore {
	if learn == nil {
		learn = func(Update[Block]) {}
	}
	return &blockStore{kv, learn}
}

// FollowBlocks calls f with all blocks, and then with whatever changes, until ctx ends; its error is ctx's. After a
// compaction, or a time without etcd that etcd cannot bridge, f gets all again. So it does in each life of etcd's, and it
// never gets what was read in a former one: see OnAnotherLife.
func (s *blockStore) FollowBlocks(ctx context.Context, f func(Update[Block])) error {
	return follow(ctx, s.kv, blockCodec, func(u Update[Block]) {
		s.learn(u)
		f(u)
	})
}

// BlockBefore is a block, or where its record cannot be read what it was before.
func (s *blockStore) BlockBefore(ctx context.Context, pool string, block netip.Prefix) (Block, error) {
	response, err := s.kv.get(ctx, s.kv.keys.block(pool, block))
	if err != nil || len(response.Kvs) == 0 {
		return Block{Pool: pool, Prefix: block}, err
	}
	b, err := recovered(ctx, s.kv, blockCodec, response.Kvs[0])
	if err == nil && b.Prefix != block {
		_, err = s.kv.keys.readBlock(pool, block, response.Kvs)
	}
	return b, err
}

// Blocks are all that have an owner, by pool and address.
func (s *blockStore) Blocks(ctx context.Context) ([]Block, error) {
	blocks, err := readable(ctx, s.kv, blockCodec)
	sortBy(blocks, func(b Block) (string, netip.Addr) { return b.Pool, b.Prefix.Addr() })
	return blocks, err
}

// Assignments are all that were published, by pool and address.
func (s *blockStore) Assignments(ctx context.Context) ([]Assignment, error) {
	assignments, err := readable(ctx, s.kv, assignmentCodec)
	sortBy(assignments, func(a Assignment) (string, netip.Addr) { return a.Pool, a.Address })
	return assignments, err
}

// Assignment is that of an address; nil if there is none.
func (s *blockStore) Assignment(ctx context.Context, pool string, a netip.Addr) (*Assignment, error) {
	return one(ctx, s.kv, assignmentCodec, s.kv.keys.assignment(pool, a))
}
