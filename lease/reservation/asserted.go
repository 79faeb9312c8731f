package reservation

import (
	"context"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// asserted is what etcd has of an assertion, read in one transaction.
type asserted struct {
	Assertion
	x            *session.Session
	identity     int64 // the mod revision of the identity's record; 0: there is none
	named        record.IdentityRecord
	elsewhere    bool                 // that record names other addresses
	reservations []record.Reservation // one of each address; Revision 0: there is none
	blocks       []record.Block       // likewise, those that the addresses lie in
	epoch        int64                // by which the attachment has them, once they are asserted
	unread       error                // a record cannot be read: its former value says whose it is, and nothing can be written
}

// seenBy reads what etcd has of an assertion.
func seenBy(ctx context.Context, x *session.Session, a Assertion) (*asserted, error) {
	keys := x.KV().Keys
	t := kv.Transact("read reservation")
	identity := t.Else(keys.Identity(a.Identity))
	reservations, blocks := make([]*kv.Read, len(a.Addresses)), make([]*kv.Read, len(a.Addresses))
	for i, addr := range a.Addresses {
		reservations[i], blocks[i] = t.Else(keys.Reservation(a.Pool.Name, addr)), t.Else(keys.Block(a.Pool.Name, a.Pool.BlockOf(addr)))
	}
	err := x.KV().Query(ctx, kv.CallTime, t)
	if err != nil {
		return nil, err
	}
	s := &asserted{Assertion: a, x: x, identity: identity.Revision(), epoch: a.Epoch}
	if identity.Found() {
		s.named, err = kv.Recovered(ctx, x.KV(), record.IdentityCodec, identity.KVs[0])
		_, s.unread = record.IdentityCodec.Read(keys, identity.KVs[0])
		s.elsewhere = err == nil && !has(&s.named, a)
	}
	for i, addr := range a.Addresses {
		r := record.Reservation{Pool: a.Pool.Name, Address: addr}
		if found := reservations[i]; found.Found() {
			if _, err := record.ReservationCodec.Read(keys, found.KVs[0]); err != nil {
				s.unread = err
			}
			if r, err = kv.Recovered(ctx, x.KV(), record.ReservationCodec, found.KVs[0]); err != nil {
				return nil, err
			}
		}
		b, err := record.ReadBlock(keys, a.Pool.Name, a.Pool.BlockOf(addr), blocks[i].KVs)
		if err != nil {
			return nil, err
		}
		s.reservations, s.blocks = append(s.reservations, r), append(s.blocks, b)
	}
	return s, nil
}

// has reports whether the record names what the assertion speaks of.
func has(r *record.IdentityRecord, a Assertion) bool {
	return r.Pool == a.Pool.Name &&
		!slices.ContainsFunc(a.Addresses, func(addr netip.Addr) bool { return !slices.Contains(r.Addresses, addr) })
}

// mine reports whether a reservation may be, or become, the attachment's. An earlier epoch counts only during a recovery, where
// etcd has gone back to it: else the identity's reservation has ended meanwhile, and its epochs count from one again.
func (s *asserted) mine(r record.Reservation) bool {
	if r.Revision == 0 {
		return true
	}
	return r.Identity == s.Identity && (r.Holder == nil || s.holds(r) || s.x.Recovering() && r.Epoch < s.Epoch)
}

func (s *asserted) holds(r record.Reservation) bool { return r.Holder.Is(s.Attachment, s.x.Name()) }

// plan is the transaction that carries the assertion out; nil: nothing is missing. It is not ok where something is another's.
func (s *asserted) plan() (t *kv.Txn, ok bool) {
	if s.elsewhere && !s.x.Recovering() {
		return nil, false
	}
	complete := s.identity > 0
	for i, r := range s.reservations {
		b := s.blocks[i]
		if !s.mine(r) || b.Revision > 0 && b.OwnerOf(r.Address) != record.OwnerStateful {
			return nil, false
		}
		switch {
		case s.holds(r):
			s.epoch = max(s.epoch, r.Epoch)
		case r.Epoch >= s.epoch: // somebody had it meanwhile, and has given it up
			s.epoch = r.Epoch + 1
		}
		complete = complete && s.holds(r) && b.Revision > 0
	}
	for _, r := range s.reservations {
		complete = complete && r.Epoch == s.epoch
	}
	if complete {
		return nil, true
	}
	return s.write(), true
}

func (s *asserted) write() *kv.Txn {
	keys, now := s.x.KV().Keys, s.x.KV().Clock.Wall()
	t := s.x.Fenced("assert reservation")
	t.If(kv.Unchanged(keys.Identity(s.Identity), s.identity))
	if s.identity == 0 {
		t.Then(kv.Put(keys.Identity(s.Identity), record.IdentityRecord{Pool: s.Pool.Name, Addresses: s.Addresses}))
	}
	for i, r := range s.reservations {
		key, b := keys.Reservation(r.Pool, r.Address), s.blocks[i]
		t.If(kv.Unchanged(key, r.Revision), kv.Unchanged(keys.Block(b.Pool, b.Prefix), b.Revision))
		if b.Revision == 0 { // each of another family, and so of another block
			t.Then(kv.Put(keys.Block(b.Pool, b.Prefix), record.StatefulBlock(b.ID())))
		}
		if r.Revision == 0 {
			r.Identity, r.Since = s.Identity, now
		}
		if !s.holds(r) {
			r.Holder = &record.Holder{Attachment: s.Attachment, Workload: s.Workload, Node: s.x.Name(), Since: now}
		}
		r.Ended, r.LastDel, r.Epoch = nil, nil, s.epoch
		t.Then(kv.Put(key, r))
	}
	return t
}
