package reservation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Rename makes the identity's record name what an attachment of this node holds, where it names other addresses, which nobody holds:
// those are given up. So it is after a restore of etcd where the identity was released and reserved anew since the backup. It reports
// whether it has done so; where the attachment does not hold all of it, or another holds what is named, nothing changes.
func Rename(ctx context.Context, x *session.Session, a Assertion) (done bool, err error) {
	if done, err = rename(ctx, x, a); err != nil {
		return false, fmt.Errorf("lease: let %s have what it holds on node %q: %w", a.Identity, x.Name(), err)
	}
	return done, nil
}

func rename(ctx context.Context, x *session.Session, a Assertion) (done bool, err error) {
	if err := x.Entitled(); err != nil {
		return false, err
	}
	for range reserveTries {
		seen, err := seenBy(ctx, x, a)
		switch {
		case err != nil:
			return false, err
		case seen.unread != nil:
			return false, seen.unread
		case !seen.elsewhere || slices.ContainsFunc(seen.reservations, func(r record.Reservation) bool { return !seen.holds(r) }):
			return false, nil
		}
		former, err := seen.former(ctx)
		if err != nil || slices.ContainsFunc(former, func(r record.Reservation) bool { return r.Holder != nil }) {
			return false, err
		}
		t := seen.renaming(former)
		if err := x.KV().Require(ctx, t); err != nil {
			return false, err
		}
		if t.Done {
			return true, nil
		}
	}
	return false, errors.New("others keep coming between: try again")
}

// former are the reservations of the identity that its record names and the attachment does not have.
func (s *asserted) former(ctx context.Context) (all []record.Reservation, err error) {
	keys := s.x.KV().Keys
	t := kv.Transact("read reservation")
	var reads []*kv.Read
	for _, addr := range s.named.Addresses {
		if s.named.Pool != s.Pool.Name || !slices.Contains(s.Addresses, addr) {
			reads = append(reads, t.Else(keys.Reservation(s.named.Pool, addr)))
		}
	}
	if err := s.x.KV().Query(ctx, kv.CallTime, t); err != nil {
		return nil, err
	}
	for _, read := range reads {
		if !read.Found() {
			continue
		}
		r, err := record.ReservationCodec.Read(keys, read.KVs[0])
		if err != nil {
			return nil, err
		}
		if r.Identity == s.Identity {
			all = append(all, r)
		}
	}
	return all, nil
}

func (s *asserted) renaming(former []record.Reservation) *kv.Txn {
	keys := s.x.KV().Keys
	t := s.x.Fenced("rename reservation")
	t.If(kv.Unchanged(keys.Identity(s.Identity), s.identity))
	t.Then(kv.Put(keys.Identity(s.Identity), record.IdentityRecord{Pool: s.Pool.Name, Addresses: s.Addresses}))
	for _, r := range s.reservations {
		t.If(kv.Unchanged(keys.Reservation(r.Pool, r.Address), r.Revision))
	}
	for _, r := range former {
		t.If(kv.Unchanged(keys.Reservation(r.Pool, r.Address), r.Revision))
		t.Then(clientv3.OpDelete(keys.Reservation(r.Pool, r.Address)))
	}
	return t
}
