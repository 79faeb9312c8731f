package lease

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// asserted is what etcd has where an assertion speaks of, as it was read at once.
type asserted struct {
	Assertion
	x            *Session
	identity     int64         // the mod revision of the identity's record; 0: there is none
	elsewhere    bool          // that record names other addresses
	reservations []Reservation // one of each address; Revision 0: there is none
	blocks       []Block       // likewise, those that the addresses lie in
	epoch        int64         // by which the attachment has them, once they are asserted
	unread       error         // a record cannot be read: what it was before tells whose it is, and nothing can be written
}

func seenBy(ctx context.Context, x *Session, a Assertion) (*asserted, error) {
	keys := x.KV().keys
	t := transact("read reservation")
	identity := t.Else(keys.identity(a.Identity))
	reservations, blocks := make([]*read, len(a.Addresses)), make([]*read, len(a.Addresses))
	for i, addr := range a.Addresses {
		reservations[i], blocks[i] = t.Else(keys.reservation(a.Pool.Name, addr)), t.Else(keys.block(a.Pool.Name, a.Pool.BlockOf(addr)))
	}
	err := x.KV().consult(ctx, callTime, t)
	if err != nil {
		return nil, err
	}
	s := &asserted{Assertion: a, x: x, identity: identity.revision(), epoch: a.Epoch}
	if identity.there() {
		record, err := recovered(ctx, x.KV(), identityCodec, identity.kvs[0])
		_, s.unread = identityCodec.read(keys, identity.kvs[0])
		s.elsewhere = err == nil && !has(&record, a)
	}
	for i, addr := range a.Addresses {
		r := Reservation{Pool: a.Pool.Name, Address: addr}
		if found := reservations[i]; found.there() {
			if _, err := reservationCodec.read(keys, found.kvs[0]); err != nil {
				s.unread = err
			}
			if r, err = recovered(ctx, x.KV(), reservationCodec, found.kvs[0]); err != nil {
				return nil, err
			}
		}
		b, err := keys.readBlock(a.Pool.Name, a.Pool.BlockOf(addr), blocks[i].kvs)
		if err != nil {
			return nil, err
		}
		s.reservations, s.blocks = append(s.reservations, r), append(s.blocks, b)
	}
	return s, nil
}

// has reports whether the record names what the assertion speaks of.
func has(r *IdentityRecord, a Assertion) bool {
	return r.Pool == a.Pool.Name &&
		!slices.ContainsFunc(a.Addresses, func(addr netip.Addr) bool { return !slices.Contains(r.Addresses, addr) })
}

// mine reports whether a reservation that is there may be, or become, the attachment's. An earlier epoch is one that
// etcd has gone back to only while all recover: else the identity's reservation has ended meanwhile, and its epochs
// count from one again.
func (s *asserted) mine(r Reservation) bool {
	if r.Revision == 0 {
		return true
	}
	return r.Identity == s.Identity && (r.Holder == nil || s.holds(r) || s.x.Recovering() && r.Epoch < s.Epoch)
}

func (s *asserted) holds(r Reservation) bool { return r.Holder.is(s.Attachment, s.x.Name()) }

// assertion is the transaction that makes it so; nil: it is so. It is not ok where something is another's.
func (s *asserted) assertion() (t *txn, ok bool) {
	if s.elsewhere && !s.x.Recovering() {
		return nil, false
	}
	complete := s.identity > 0
	for i, r := range s.reservations {
		b := s.blocks[i]
		if !s.mine(r) || b.Revision > 0 && ownerOf(b, r) != OwnerStateful {
			return nil, false
		}
		switch {
		case s.holds(r):
			s.epoch = max(s.epoch, r.Epoch)
		case r.Revision > 0 && r.Epoch >= s.epoch: // somebody had it meanwhile, and has let go of it
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

func ownerOf(b Block, r Reservation) string {
	for _, p := range b.Parts {
		if p.Prefix.Contains(r.Address) {
			return p.Owner
		}
	}
	return ""
}

func (s *asserted) write() *txn {
	keys, now := s.x.KV().keys, time.Now().UTC()
	t := s.x.fenced("assert reservation")
	t.If(unchanged(keys.identity(s.Identity), s.identity))
	if s.identity == 0 {
		t.Then(put(keys.identity(s.Identity), IdentityRecord{Pool: s.Pool.Name, Addresses: s.Addresses}))
	}
	written := map[blockAt]bool{}
	for i, r := range s.reservations {
		key, b := keys.reservation(r.Pool, r.Address), s.blocks[i]
		t.If(unchanged(key, r.Revision), unchanged(keys.block(b.Pool, b.Prefix), b.Revision))
		if at := (blockAt{b.Pool, b.Prefix}); b.Revision == 0 && !written[at] {
			written[at] = true
			t.Then(put(keys.block(b.Pool, b.Prefix), statefulBlock(at)))
		}
		if r.Revision == 0 {
			r.Identity, r.Since = s.Identity, now
		}
		if !s.holds(r) {
			r.Holder = &Holder{Attachment: s.Attachment, Workload: s.Workload, Node: s.x.Name(), Since: now}
		}
		r.Ended, r.LastDel, r.Epoch = nil, nil, s.epoch
		t.Then(put(key, r))
	}
	return t
}
