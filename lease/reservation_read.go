package lease

import (
	"context"
	"net/netip"
)

// A reservationStore is whose a reservation is and who holds it.
type reservationStore struct {
	kv    *Client
	hints hints
}

func newReservationStore(kv *Client) *reservationStore {
	s := &reservationStore{kv: kv}
	kv.OnReset(s.hints.reset)
	return s
}

// LearnBlocks takes in which blocks are kept for reservations, so that Reserve finds a free address at once.
func (s *reservationStore) LearnBlocks(u Update[Block]) { s.hints.blocks(u) }

// FollowReservations is FollowBlocks for reservations. While it runs the Store knows which addresses identities have,
// so that Reserve needs one transaction for a known one, too.
func (s *reservationStore) FollowReservations(ctx context.Context, f func(Update[Reservation])) error {
	return follow(ctx, s.kv, reservationCodec, func(u Update[Reservation]) {
		s.hints.reservations(u)
		f(u)
	})
}

// Reservations are all of the cluster's, by pool and address.
func (s *reservationStore) Reservations(ctx context.Context) ([]Reservation, error) {
	reservations, err := readable(ctx, s.kv, reservationCodec)
	sortBy(reservations, func(r Reservation) (string, netip.Addr) { return r.Pool, r.Address })
	return reservations, err
}

// Reservation is that of an address; nil if there is none.
func (s *reservationStore) Reservation(ctx context.Context, pool string, a netip.Addr) (*Reservation, error) {
	return one(ctx, s.kv, reservationCodec, s.kv.keys.reservation(pool, a))
}
