package publish

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// DetachTime is how long a DEL waits for etcd to record the detachment, so that the member can start elsewhere at once. After
// that it is published in the background.
const DetachTime = 2 * time.Second

// detachAll publishes the pending detachments, until ctx ends.
func (p *Publisher) detachAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Detach:
		}
		for p.DetachPending(ctx) != nil && ctx.Err() == nil {
			task.Pause(ctx, time.Second)
		}
	}
}

// DetachPending publishes the journal's pending detachments. One caller does it at a time: those that come meanwhile share the
// transactions of the next one.
func (p *Publisher) DetachPending(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DetachTime)
	defer cancel()
	if err := p.detaching.Lock(ctx); err != nil {
		return err
	}
	defer p.detaching.Unlock()
	pending := p.Journal.Pending()
	if len(pending) == 0 {
		return nil
	}
	pending, ended := p.endPending(ctx, pending)
	all := make([]reservation.Detachment, len(pending))
	for i, d := range pending {
		all[i] = detachmentOf(d)
	}
	err := p.Store.Reservations.Detach(ctx, all)
	failed := map[int]error{}
	if some, is := errors.AsType[*reservation.DetachError](err); is {
		failed = some.Each
	} else if err != nil {
		return err
	}
	for i, d := range pending {
		if failed[i] != nil {
			continue
		}
		p.Journal.Detached(d)
	}
	return errors.Join(err, ended)
}

func detachmentOf(d journal.Detachment) reservation.Detachment {
	return reservation.Detachment{Pool: d.Pool, Addresses: d.Addresses, Identity: d.Identity, Attachment: d.Attachment, Epoch: d.Epoch}
}

// endPending ends the reservations that end with their detachment, and returns the other detachments. One that fails is tried
// again, and delays no other.
func (p *Publisher) endPending(ctx context.Context, pending []journal.Detachment) (others []journal.Detachment, err error) {
	for _, d := range pending {
		end := p.Store.Reservations.EndMade
		switch {
		case d.GiveUp:
			end = p.Store.Reservations.EndHeld
		case !d.Unanswered:
			others = append(others, d)
			continue
		}
		if failed := end(ctx, detachmentOf(d)); failed != nil {
			err = failed
			continue
		}
		p.Journal.Detached(d)
	}
	return others, err
}

// MergeDetachments merges the detachments of one identity's families, because a reservation of two families is detached as one.
func MergeDetachments(all []reservation.Detachment) []reservation.Detachment {
	at := map[allocator.Attachment]int{}
	var out []reservation.Detachment
	for _, d := range all {
		if i, ok := at[d.Attachment]; ok && out[i].Identity == d.Identity && out[i].Epoch == d.Epoch {
			out[i].Addresses = append(append([]netip.Addr{}, out[i].Addresses...), d.Addresses...)
			continue
		}
		at[d.Attachment] = len(out)
		out = append(out, d)
	}
	return out
}

// DetachOrphan detaches a reservation that etcd attaches to this node without a container or request here: an ADD left it behind
// when etcd's answer was lost. It reports whether it did.
func (p *Publisher) DetachOrphan(ctx context.Context, r record.Reservation) bool {
	if r.Holder.Node != p.Name {
		return false
	}
	wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // a request that holds the lock decides
	defer cancel()
	unlock, err := p.Locks.Lock(wait, r.Holder.Attachment)
	if err != nil {
		return false
	}
	defer unlock()
	if p.Journal.Get(r.Holder.Attachment) != nil || p.isolator.Unidentified.Has(r.Holder.Attachment) {
		return false
	}
	if p.Journal.Detaching(r.Holder.Attachment) { // a DEL has forgotten who was answered the address: it stays reserved
		_ = p.DetachPending(ctx) // another's that fails is no matter here
		return !p.Journal.Detaching(r.Holder.Attachment)
	}
	d := reservation.Detachment{Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment,
		Epoch: r.Epoch}
	session := p.Gate.Session()
	// It ends only if it was attached under this session, whose answers are in the journal. One that a former boot has answered and
	// that was written again by hand has a later revision, too.
	ours := session != nil && r.Revision > session.Generation() && !r.Holder.Since.Before(session.Node().Started)
	if ours {
		return p.Store.Reservations.EndMade(ctx, d) == nil
	}
	return p.Store.Reservations.Detach(ctx, []reservation.Detachment{d}) == nil
}

// orphanEvery is how often orphaned reservations are reaped.
const orphanEvery = time.Second

// Knows reports whether the journal has a reservation's holder with its address.
func (p *Publisher) Knows(r record.Reservation) bool {
	e := p.Journal.Get(r.Holder.Attachment)
	return e != nil && e.Pool == r.Pool && slices.Contains(e.Addresses, r.Address)
}

// reapOrphans detaches orphaned reservations, so that the member can start elsewhere. It compares attachment and epoch, under the
// attachment's lock, which an ADD holds from before its transaction until the journal has the result.
func (p *Publisher) reapOrphans(ctx context.Context) error {
	return task.Every(ctx, orphanEvery, func() {
		for _, r := range p.Orphans.list() {
			if p.Knows(r) || p.DetachOrphan(ctx, r) {
				p.Orphans.drop(r)
			}
		}
	})
}
