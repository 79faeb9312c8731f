package reservation

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// End gives up what is reserved for an identity and returns what it was: its addresses are anybody's then.
// It fails with ErrNotReserved, and with *HeldError while an attachment has it, unless by force.
func (s *Store) End(ctx context.Context, id allocator.Identity, force bool) ([]record.Reservation, error) {
	return s.EndIf(ctx, id, func(r record.Reservation) error {
		if r.Holder != nil && !force {
			return &HeldError{Reservation: r}
		}
		return nil
	})
}

// EndIf is End, but may decides about each reservation, as it is in the transaction that ends it. An error of may's keeps all.
func (s *Store) EndIf(
	ctx context.Context, id allocator.Identity, may func(record.Reservation) error,
) ([]record.Reservation, error) {
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("lease: end reservation: %w", err)
	}
	ended, err := s.end(ctx, id, may)
	if err != nil {
		return nil, fmt.Errorf("lease: end reservation of %s: %w", id, err)
	}
	s.cache.forget(id)
	return ended, nil
}

func (s *Store) end(ctx context.Context, id allocator.Identity, may func(record.Reservation) error) ([]record.Reservation, error) {
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
		switch err := s.kv.Execute(ctx, t.Txn); {
		case err != nil:
			return nil, err
		case !t.record.Found(): // this try has ended it, and read nothing, or one whose answer was lost had
			return t.reservations, nil
		case n == reserveTries:
			return nil, fmt.Errorf("it keeps changing: try again")
		}
	}
}

// An ending is the transaction that ends what an identity has, and what it reads where something of that has changed.
type ending struct {
	*kv.Txn
	record       *kv.Read // the identity's
	reservations []record.Reservation
}

// ending reads what an identity has, and ends it if it stays so.
func (s *Store) ending(ctx context.Context, id allocator.Identity) (e ending, err error) {
	key := s.kv.Keys.Identity(id)
	response, err := s.kv.Get(ctx, key)
	if err != nil {
		return e, err
	}
	if len(response.Kvs) == 0 {
		return e, ErrNotReserved
	}
	record, err := record.IdentityCodec.Read(s.kv.Keys, response.Kvs[0])
	if err != nil {
		return e, err
	}
	e.Txn = kv.Transact("end reservation")
	e.record = e.Else(key)
	e.If(kv.Unchanged(key, response.Kvs[0].ModRevision))
	e.Then(clientv3.OpDelete(key))
	for _, a := range record.Addresses {
		r, err := s.Of(ctx, record.Pool, a)
		if err != nil {
			return e, err
		}
		key := s.kv.Keys.Reservation(record.Pool, a)
		switch {
		case r == nil:
			e.If(kv.Absent(key))
		case r.Identity == id: // else only the identity's record is left
			e.If(kv.Unchanged(key, r.Revision))
			e.Then(clientv3.OpDelete(key))
			e.reservations = append(e.reservations, *r)
		}
	}
	return e, nil
}
