package lease

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// EndReservation gives up what is reserved for an identity and returns what it was: its addresses are anybody's then.
// It fails with ErrNotReserved, and with *HeldError while an attachment has it, unless by force.
func (s *Store) EndReservation(ctx context.Context, id allocator.Identity, force bool) ([]Reservation, error) {
	return s.EndReservationIf(ctx, id, func(r Reservation) error {
		if r.Holder != nil && !force {
			return &HeldError{Reservation: r}
		}
		return nil
	})
}

// EndReservationIf is EndReservation, but whether each of the reservations may end is decided by what etcd has of it in
// the very transaction that ends it. An error of may's keeps all.
func (s *Store) EndReservationIf(ctx context.Context, id allocator.Identity, may func(Reservation) error) ([]Reservation, error) {
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

func (s *Store) end(ctx context.Context, id allocator.Identity, may func(Reservation) error) ([]Reservation, error) {
	for n := 1; ; n++ {
		compares, deletes, reservations, err := s.ending(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, r := range reservations {
			if err := may(r); err != nil {
				return nil, err
			}
		}
		t := transaction{If: compares, Then: deletes, Else: []clientv3.Op{clientv3.OpGet(s.keys.identity(id))}}
		response, err := s.settle(ctx, "end reservation", t)
		switch {
		case err != nil:
			return nil, err
		case response.Succeeded, len(found(response, 0)) == 0: // this one, or one whose answer was lost
			return reservations, nil
		case n == reserveTries:
			return nil, fmt.Errorf("it keeps changing: try again")
		}
	}
}

// ending reads what an identity has, and what a transaction compares and deletes to end it.
func (s *Store) ending(ctx context.Context,
	id allocator.Identity) (compares []clientv3.Cmp, deletes []clientv3.Op, all []Reservation, err error) {
	key := s.keys.identity(id)
	response, err := s.get(ctx, key)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(response.Kvs) == 0 {
		return nil, nil, nil, ErrNotReserved
	}
	record, err := identityForm.read(s.keys, response.Kvs[0])
	if err != nil {
		return nil, nil, nil, err
	}
	compares, deletes = append(compares, unchanged(key, response.Kvs[0].ModRevision)), append(deletes, clientv3.OpDelete(key))
	for _, a := range record.Addresses {
		r, err := s.Reservation(ctx, record.Pool, a)
		if err != nil {
			return nil, nil, nil, err
		}
		key := s.keys.reservation(record.Pool, a)
		switch {
		case r == nil:
			compares = append(compares, absent(key))
			continue
		case r.Identity != id:
			continue // only the identity's record is left
		}
		compares, deletes = append(compares, unchanged(key, r.Revision)), append(deletes, clientv3.OpDelete(key))
		all = append(all, *r)
	}
	return compares, deletes, all, nil
}
