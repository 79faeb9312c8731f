package reservation

import (
	"context"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

const DetachOps = detachOps

// Cached are the reservations of an identity as the cache has them.
func (s *Store) Cached(id allocator.Identity) []record.Reservation { return s.cache.of(id) }

// Known is how many identities the cache knows.
func (s *Store) Known() int {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	return len(s.cache.identities)
}

func (s *Store) Ending(ctx context.Context, id allocator.Identity) (ending, error) {
	return s.ending(ctx, id)
}

// AssertPlan is the transaction that an assertion comes to, by what there is now.
func AssertPlan(ctx context.Context, x *session.Session, a Assertion) (t *kv.Txn, ok bool, err error) {
	seen, err := seenBy(ctx, x, a)
	if err != nil {
		return nil, false, err
	}
	t, ok = seen.plan()
	return t, ok, nil
}

// ReserveIn reserves without a session, by a state of the cluster.
func (s *Store) ReserveIn(ctx context.Context, cluster int64, requests []Request) ([]record.Reservation, error) {
	return reserve(ctx, &call{store: s, cluster: cluster}, requests)
}
