package block

import (
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A Store is who owns which block.
type Store struct {
	kv    *kv.Client
	learn func(kv.Update[record.Block])
}

// New calls learn with each update of Follow, before the follower; nil: not called.
func New(pair *kv.Client, learn func(kv.Update[record.Block])) *Store {
	if learn == nil {
		learn = func(kv.Update[record.Block]) {}
	}
	return &Store{pair, learn}
}

// Follow calls f with all blocks, and then with whatever changes, until ctx ends; its error is ctx's. After a
// compaction, or a time without etcd that etcd cannot bridge, f gets all again. So it does in each incarnation of the store, and
// it never gets what was read in a former one: see session.Store.OnStoreReset.
func (s *Store) Follow(ctx context.Context, f func(kv.Update[record.Block])) error {
	return kv.Follow(ctx, s.kv, record.BlockCodec, func(u kv.Update[record.Block]) {
		s.learn(u)
		f(u)
	})
}

// Before is a block or, where its record cannot be read, its former value.
func (s *Store) Before(ctx context.Context, pool string, block netip.Prefix) (record.Block, error) {
	response, err := s.kv.Get(ctx, s.kv.Keys.Block(pool, block))
	if err != nil || len(response.Kvs) == 0 {
		return record.Block{Pool: pool, Prefix: block}, err
	}
	b, err := kv.Recovered(ctx, s.kv, record.BlockCodec, response.Kvs[0])
	if err == nil && b.Prefix != block {
		_, err = record.ReadBlock(s.kv.Keys, pool, block, response.Kvs)
	}
	return b, err
}

// List are all that have an owner, by pool and address.
func (s *Store) List(ctx context.Context) ([]record.Block, error) {
	blocks, err := kv.Readable(ctx, s.kv, record.BlockCodec)
	record.SortBy(blocks, func(b record.Block) (string, netip.Addr) { return b.Pool, b.Prefix.Addr() })
	return blocks, err
}

// Assignments are all that were published, by pool and address.
func (s *Store) Assignments(ctx context.Context) ([]record.Assignment, error) {
	assignments, err := kv.Readable(ctx, s.kv, record.AssignmentCodec)
	record.SortBy(assignments, func(a record.Assignment) (string, netip.Addr) { return a.Pool, a.Address })
	return assignments, err
}

// Assignment is that of an address; nil if there is none.
func (s *Store) Assignment(ctx context.Context, pool string, a netip.Addr) (*record.Assignment, error) {
	return kv.One(ctx, s.kv, record.AssignmentCodec, s.kv.Keys.Assignment(pool, a))
}
