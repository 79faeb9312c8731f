package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// detachTime is how long a DEL waits for etcd to learn of a detachment, so that the member can start elsewhere at
// once; after that it is settled later.
const detachTime = 2 * time.Second

// reserve attaches the reservation of each stateful add to it. A reservation that this node's own former container
// still has is let go of first, where that container is gone.
func (a *Agent) reserve(ctx context.Context, own *session.Session, adds []*add) error {
	if len(adds) == 0 {
		return nil
	}
	requests := make([]reservation.Request, len(adds))
	for i, add := range adds {
		if err := validStateful(add); err != nil {
			return err
		}
		requests[i] = reservation.Request{
			Pool: *add.pool, PoolRevision: add.config.PoolRevisions[add.pool.Name],
			Identity: add.identity(), Attachment: add.attachment, Workload: add.workload, Addresses: add.asked,
			Taken: a.reserved.taken(add.pool.Name), Waited: a.waited, Fencing: add.config.Settings.Fencing,
		}
	}
	a.detachPending(ctx) // else this node's own unsettled DELs would be in the way
	byIdentity := map[allocator.Identity]map[netip.Addr]record.Reservation{}
	var err error
	for again := true; again; {
		var done []record.Reservation
		done, err = a.store.Reservations.Reserve(ctx, own, requests)
		for _, r := range done {
			if byIdentity[r.Identity] == nil {
				byIdentity[r.Identity] = map[netip.Addr]record.Reservation{}
			}
			byIdentity[r.Identity][r.Address] = r
		}
		held, is := errors.AsType[*reservation.HeldError](err)
		again = is && a.letGo(ctx, held.Reservation)
	}
	for _, add := range adds {
		add.reserved = reservedEntry(add, byIdentity[add.identity()])
	}
	if session.Over(err) { // the node joins anew, and this ADD begins anew
		return node.ErrSuperseded
	}
	return a.reserveError(a.untilRecovered(err), adds)
}

// waited reports whether a node that is absent has been so for its whole right over reservations and a tenth.
func (a *Agent) waited(absent record.Absence) bool {
	return a.absences.waited(absent, a.longestRights()[allocator.Stateful])
}

// letGo detaches a reservation that etcd attaches to this node and that no request and no container here has: what an
// ADD left behind whose answer from etcd was lost. It reports whether it did.
func (a *Agent) letGo(ctx context.Context, r record.Reservation) bool {
	if r.Holder.Node != a.Node {
		return false
	}
	wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // a request that has the lock is under way: it decides
	defer cancel()
	unlock, err := a.locks.Lock(wait, r.Holder.Attachment)
	if err != nil {
		return false
	}
	defer unlock()
	if a.journal.Get(r.Holder.Attachment) != nil || a.unread.has(r.Holder.Attachment) {
		return false
	}
	d := reservation.Detachment{Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment,
		Epoch: r.Epoch}
	session := a.gate.Session()
	ours := session != nil && r.Revision > session.Generation() // since then the journal has all that was answered
	if ours {
		return a.store.Reservations.EndMade(ctx, d) == nil
	}
	return a.store.Reservations.Detach(ctx, []reservation.Detachment{d}) == nil
}

func validStateful(add *add) error {
	if add.pool.Draining {
		return wire.Errorf(wire.CodeConfig, "pool %q is being drained: it gives no address any more", add.pool.Name)
	}
	if len(add.pool.Stateful) == 0 {
		return wire.Errorf(wire.CodeConfig, "pool %q has no stateful ranges: add some with berthctl apply, or choose another pool", add.pool.Name)
	}
	for _, addr := range add.asked {
		if !add.pool.InStateful(addr) || !add.pool.Usable(addr) {
			return wire.Errorf(wire.CodeConfig,
				"address %s was asked for by a stateful container, and is not a usable one of the stateful ranges %v of pool %q", addr,
				add.pool.Stateful, add.pool.Name)
		}
	}
	return nil
}

// reservedEntry begins the journal entry of an add with what was reserved for it; nil where nothing was.
func reservedEntry(add *add, reservations map[netip.Addr]record.Reservation) *journal.Entry {
	if len(reservations) == 0 {
		return nil
	}
	e := &journal.Entry{Class: allocator.Stateful}
	for _, r := range reservations {
		e.Epoch = r.Epoch // those of an identity are attached as one
	}
	e.Addresses = slices.SortedFunc(maps.Keys(reservations), netip.Addr.Compare) // IPv4 first
	return e
}

// reserveError puts what went wrong into the caller's words.
func (a *Agent) reserveError(err error, adds []*add) error {
	if held, ok := errors.AsType[*reservation.HeldError](err); ok {
		h := held.Reservation.Holder
		when := "it moves when that container is gone"
		if _, left, _ := a.absences.over(h.Node, allocator.Stateful); left > 0 {
			when = fmt.Sprintf("that node is away, and its right runs out within %s", left.Round(time.Second))
		}
		return wire.Errorf(wire.CodeTryAgain, "%s has address %s, which is attached to container %s on node %s since %s: %s",
			held.Reservation.Identity, held.Reservation.Address, h.Attachment.Container, h.Node, h.Since.Format(time.RFC3339), when)
	}
	if exhausted, ok := errors.AsType[*reservation.ExhaustedError](err); ok {
		return wire.Errorf(wire.CodeTryAgain, "%w", exhausted)
	}
	if errors.Is(err, record.ErrStaleConfig) {
		if bad := a.config.Load().BadPool(adds[0].pool.Name); bad != nil {
			return wire.Errorf(wire.CodeTryAgain, "nothing new is reserved in pool %q until its record is mended: %w", adds[0].pool.Name, bad)
		}
		return wire.Errorf(wire.CodeTryAgain, "the pool has just been changed: %w", err)
	}
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "cannot reserve an address for %s now: %w", adds[0].identity(), err)
	}
	return nil
}

// unreserve lets go of a reservation that the journal has not come to know. A container that had it before, and is isolated,
// stays so.
func (a *Agent) unreserve(add *add) {
	if add.reserved == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), detachTime)
	defer cancel()
	d := reservation.Detachment{
		Pool: add.pool.Name, Addresses: add.reserved.Addresses, Identity: add.identity(), Attachment: add.attachment, Epoch: add.reserved.Epoch,
	}
	if err := a.store.Reservations.EndMade(ctx, d); err != nil {
		// The next settling finds that etcd attaches to this node what it does not have.
		a.Log.Warn("cannot let go of a reservation yet", zap.Stringer("identity", add.identity()), zap.Error(err))
	}
}

// detachAll tells etcd of the detachments that it does not know yet, until it does.
func (a *Agent) detachAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.detach:
		}
		for a.detachPending(ctx) != nil && ctx.Err() == nil {
			task.Pause(ctx, time.Second)
		}
	}
}

func (a *Agent) detachPending(ctx context.Context) error {
	pending := a.journal.Pending()
	if len(pending) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, detachTime)
	defer cancel()
	pending, ended := a.endPending(ctx, pending)
	all := make([]reservation.Detachment, len(pending))
	for i, d := range pending {
		all[i] = detachmentOf(d)
	}
	err := a.store.Reservations.Detach(ctx, all)
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
		a.journal.Detached(d)
	}
	return errors.Join(err, ended)
}

func detachmentOf(d journal.Detachment) reservation.Detachment {
	return reservation.Detachment{Pool: d.Pool, Addresses: d.Addresses, Identity: d.Identity, Attachment: d.Attachment, Epoch: d.Epoch}
}

// endPending ends the reservations that are to end with their detachment, and returns the detachments of the others. One that
// cannot be ended now is tried again, and keeps no other.
func (a *Agent) endPending(ctx context.Context, pending []journal.Detachment) (others []journal.Detachment, err error) {
	for _, d := range pending {
		end := a.store.Reservations.EndMade
		switch {
		case d.GiveUp:
			end = a.store.Reservations.EndHeld
		case !d.Unanswered:
			others = append(others, d)
			continue
		}
		if failed := end(ctx, detachmentOf(d)); failed != nil {
			err = failed
			continue
		}
		a.journal.Detached(d)
	}
	return others, err
}

// merged joins the detachments of one identity's families into one, as a reservation of two families is let go of as one.
func merged(all []reservation.Detachment) []reservation.Detachment {
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
