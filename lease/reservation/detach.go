package reservation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// detachOps is how many detachments share a transaction: each has two operations at most, nested.
const detachOps = kv.MaxOps - 2

// A Detachment says that an attachment has given up its reservation, or both in a pool of two families.
type Detachment struct {
	Pool       string
	Addresses  []netip.Addr
	Identity   allocator.Identity
	Attachment allocator.Attachment
	Epoch      int64 // of the attachment's reservation
}

// has reports whether a reservation is what the detachment speaks of.
func (d *Detachment) has(r record.Reservation) bool {
	return r.Holder != nil && r.Identity == d.Identity && r.Holder.Attachment == d.Attachment && r.Epoch == d.Epoch
}

// Detach leaves reservations to whoever attaches next. A reservation that is another attachment's by now, or has another epoch,
// stays as it is; that is a success. Detaching gives nobody anything, so it needs no session and may come late. Where records
// cannot be read it fails with *DetachError once all others are detached.
func (s *Store) Detach(ctx context.Context, all []Detachment) error {
	now, failed := s.kv.Clock.Wall(), map[int]error{}
	for at := 0; at < len(all); at += detachOps {
		group := all[at:min(at+detachOps, len(all))]
		if err := s.detach(ctx, group, now, func(n int, err error) { failed[at+n] = err }); err != nil {
			return fmt.Errorf("lease: detach %s: %w", group[0].Identity, err)
		}
	}
	if len(failed) > 0 {
		return &DetachError{failed}
	}
	return nil
}

// A detaching is one detachment on its way: its reservations as they were last seen.
type detaching struct {
	Detachment
	place int // in its group
	seen  []record.Reservation
	read  bool                 // within this call: else it is cached
	done  []record.Reservation // what the last transaction writes
	txn   *kv.Txn              // its part of the last transaction
	now   []*kv.Read           // what that reads where it does not write
}

// detach detaches a group, and calls bad for each whose record cannot be read.
func (s *Store) detach(ctx context.Context, group []Detachment, now time.Time, bad func(n int, err error)) error {
	pending := make([]*detaching, len(group))
	for i, d := range group {
		pending[i] = &detaching{Detachment: d, place: i, seen: s.cache.of(d.Identity)}
	}
	for n := 1; len(pending) > 0; n++ {
		if n > reserveTries {
			return errors.New("others keep coming between: try again")
		}
		round, more := apart(pending)
		t := kv.Transact("detach")
		for _, d := range round {
			d.transact(t.Nest(), s.kv.Keys, now)
		}
		if err := s.kv.Execute(ctx, t); err != nil {
			return err
		}
		for _, d := range round {
			if err := d.learn(s, t.Revision()); err != nil {
				bad(d.place, err)
			} else if len(d.ours()) > 0 {
				more = append(more, d)
			}
		}
		pending = more
	}
	return nil
}

// apart takes those that one transaction can hold: of several that speak of one address, the first.
func apart(pending []*detaching) (round, rest []*detaching) {
	busy := map[ipam.Address]bool{}
	for _, d := range pending {
		if slices.ContainsFunc(d.Addresses, func(a netip.Addr) bool { return busy[ipam.Address{Pool: d.Pool, Addr: a}] }) {
			rest = append(rest, d)
			continue
		}
		round = append(round, d)
		for _, a := range d.Addresses {
			busy[ipam.Address{Pool: d.Pool, Addr: a}] = true
		}
	}
	return round, rest
}

// ours are the reservations that the attachment still has. Cached ones count only if it has all of them.
func (d *detaching) ours() (ours []record.Reservation) {
	for _, r := range d.seen {
		if r.Pool == d.Pool && slices.Contains(d.Addresses, r.Address) && d.has(r) {
			ours = append(ours, r)
		}
	}
	if !d.read && len(ours) < len(d.Addresses) {
		return nil
	}
	return ours
}

// transact is the detachment's part of the transaction: it writes what is unchanged, or reads.
func (d *detaching) transact(t *kv.Txn, keys kv.Keys, now time.Time) {
	d.txn, d.now, d.done = t, nil, d.ours()
	for i := range d.done {
		r := &d.done[i]
		key := keys.Reservation(r.Pool, r.Address)
		t.If(kv.Unchanged(key, r.Revision))
		r.Holder, r.LastDel = nil, &now
		t.Then(kv.Put(key, *r))
	}
	for _, a := range d.Addresses {
		d.now = append(d.now, t.Else(keys.Reservation(d.Pool, a)))
	}
}

// learn takes over what the transaction has written or read.
func (d *detaching) learn(s *Store, revision int64) error {
	d.read = true
	if wrote := d.txn.Done && len(d.done) > 0; wrote {
		for i := range d.done {
			d.done[i].Revision = revision
		}
		d.seen = d.done
	} else {
		d.seen = nil
		for _, each := range d.now {
			read, bad := record.ReservationCodec.ReadAll(s.kv.Keys, each.KVs)
			if len(bad) > 0 {
				return bad[0]
			}
			d.seen = append(d.seen, read...)
		}
	}
	s.cache.learnAll(d.seen...)
	return nil
}

// errKept says that a reservation is not to end.
var errKept = errors.New("lease: the reservation stays")

// EndMade undoes an attachment that was never answered. A reservation that it has made ends, in one transaction and only if it is
// as it was made, so that none is left of a member that never ran. A reservation that was there before is detached.
func (s *Store) EndMade(ctx context.Context, d Detachment) error {
	return s.endOf(ctx, d, func(r record.Reservation) bool { return d.has(r) && r.Epoch == 1 && r.Holder.Since.Equal(r.Since) })
}

// EndHeld ends the reservations that an attachment has, or had as the last one. What another one has attached since stays.
func (s *Store) EndHeld(ctx context.Context, d Detachment) error {
	return s.endOf(ctx, d, func(r record.Reservation) bool { return d.has(r) || r.Holder == nil && r.Epoch == d.Epoch })
}

func (s *Store) endOf(ctx context.Context, d Detachment, may func(record.Reservation) bool) error {
	_, err := s.EndIf(ctx, d.Identity, func(r record.Reservation) error {
		if !may(r) {
			return errKept
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrNotReserved):
		return nil
	case errors.Is(err, errKept):
		return s.Detach(ctx, []Detachment{d})
	}
	return err
}
