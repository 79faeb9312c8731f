package lease

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// EndReservation gives up what is reserved for an identity and returns what it was: its addresses are anybody's then.
// It fails with ErrNotReserved, and with *HeldError while an attachment has it, unless by force.
func (s *reservationStore) EndReservation(ctx context.Context, id allocator.Identity, force bool) ([]Reservation, error) {
	return s.EndReservationIf(ctx, id, func(r Reservation) error {
		if r.Holder != nil && !force {
			return &HeldError{Reservation: r}
		}
		return nil
	})
}

// EndReservationIf is EndReservation, but whether each of the reservations may end is decided by what etcd has of it in
// the very transaction that ends it. An error of may's keeps all.
func (s *reservationStore) EndReservationIf(ctx context.Context, id allocator.Identity, may func(Reservation) error) ([]Reservation,
	error) {
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("lease: end reservation: %w", err)
	}
	ended, err := s.end(ctx, id, may)
	if err != nil {
		return nil, fmt.Errorf("lease: end reservation of %s: %w", id, err)
	}
	s.hints.forget(id)
	return ended, nil
}

func (s *reservationStore) end(ctx context.Context, id allocator.Identity, may func(Reservation) error) ([]Reservation, error) {
	for n := 1; ; n++ {
		t, err := s.ending(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, r := range t.reservations {
			if err := may(r); err != nil {
				return nil, err
			}
		}
		switch err := s.kv.settle(ctx, t.txn); {
		case err != nil:
			return nil, err
		case t.Done, !t.record.there(): // this one, or one whose answer was lost
			return t.reservations, nil
		case n == reserveTries:
			return nil, fmt.Errorf("it keeps changing: try again")
		}
	}
}

// An ending is the transaction that ends what an identity has, and what it reads where something of that has changed.
type ending struct {
	*txn
	record       *read // the identity's
	reservations []Reservation
}

// ending reads what an identity has, and ends it if it stays so.
func (s *reservationStore) ending(ctx context.Context, id allocator.Identity) (e ending, err error) {
	key := s.kv.keys.identity(id)
	response, err := s.kv.get(ctx, key)
	if err != nil {
		return e, err
	}
	if len(response.Kvs) == 0 {
		return e, ErrNotReserved
	}
	record, err := identityCodec.read(s.kv.keys, response.Kvs[0])
	if err != nil {
		return e, err
	}
	e.txn = transact("end reservation")
	e.record = e.Else(key)
	e.If(unchanged(key, response.Kvs[0].ModRevision))
	e.Then(clientv3.OpDelete(key))
	for _, a := range record.Addresses {
		r, err := s.Reservation(ctx, record.Pool, a)
		if err != nil {
			return e, err
		}
		key := s.kv.keys.reservation(record.Pool, a)
		switch {
		case r == nil:
			e.If(absent(key))
		case r.Identity == id: // else only the identity's record is left
			e.If(unchanged(key, r.Revision))
			e.Then(clientv3.OpDelete(key))
			e.reservations = append(e.reservations, *r)
		}
	}
	return e, nil
}
