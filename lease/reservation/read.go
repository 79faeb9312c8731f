package reservation

import (
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A Store is whose a reservation is and who holds it.
type Store struct {
	kv    *kv.Client
	cache cache
}

// New is the store of a client.
func New(kv *kv.Client) *Store {
	s := &Store{kv: kv}
	kv.OnReset(s.cache.reset)
	return s
}

// LearnBlocks caches which blocks are kept for reservations, so that Reserve finds a free address at once.
func (s *Store) LearnBlocks(u kv.Update[record.Block]) { s.cache.blocks(u) }

// Follow follows the reservations: see kv.Follow. While it runs they are cached, so that Reserve needs one transaction for a known
// identity, too.
func (s *Store) Follow(ctx context.Context, f func(kv.Update[record.Reservation])) error {
	return kv.Follow(ctx, s.kv, record.ReservationCodec, func(u kv.Update[record.Reservation]) {
		s.cache.reservations(u)
		f(u)
	})
}

// List are all of the cluster's, by pool and address.
func (s *Store) List(ctx context.Context) ([]record.Reservation, error) {
	reservations, err := kv.Readable(ctx, s.kv, record.ReservationCodec)
	record.SortBy(reservations, func(r record.Reservation) (string, netip.Addr) { return r.Pool, r.Address })
	return reservations, err
}

// Of is that of an address; nil if there is none.
func (s *Store) Of(ctx context.Context, pool string, a netip.Addr) (*record.Reservation, error) {
	return kv.One(ctx, s.kv, record.ReservationCodec, s.kv.Keys.Reservation(pool, a))
}
