package attach

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
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// reserve attaches the reservation of each stateful add to it. If a former container of this node that is gone still has the
// reservation, it is detached first.
func (a *Attacher) reserve(ctx context.Context, own *session.Session, adds []*insertion) error {
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
			Taken: a.Addresses.Reserved.Taken(add.pool.Name), Waited: a.waited, Fencing: add.config.Settings.Fencing,
		}
	}
	a.Publisher.DetachPending(ctx) // else this node's own unpublished DELs would conflict
	byIdentity := map[allocator.Identity]map[netip.Addr]record.Reservation{}
	var err error
	for again := true; again; {
		var done []record.Reservation
		done, err = a.Store.Reservations.Reserve(ctx, own, requests)
		for _, r := range done {
			if byIdentity[r.Identity] == nil {
				byIdentity[r.Identity] = map[netip.Addr]record.Reservation{}
			}
			byIdentity[r.Identity][r.Address] = r
		}
		held, is := errors.AsType[*reservation.HeldError](err)
		again = is && a.Publisher.DetachOrphan(ctx, held.Reservation)
	}
	for _, add := range adds {
		add.reserved = reservedEntry(byIdentity[add.identity()])
	}
	if session.Over(err) { // the node joins again, and this ADD starts again
		return node.ErrSuperseded
	}
	return a.reserveError(a.UntilRecovered(err), adds)
}

// waited reports whether an absent node has been so for its right over reservations and a tenth more.
func (a *Attacher) waited(absent record.Absence) bool {
	return a.Absences.Waited(absent, a.LongestRights()[allocator.Stateful])
}

func validStateful(add *insertion) error {
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

// reservedEntry begins the journal entry of an add with its reservations; nil: it has none.
func reservedEntry(reservations map[netip.Addr]record.Reservation) *journal.Entry {
	if len(reservations) == 0 {
		return nil
	}
	e := &journal.Entry{Class: allocator.Stateful}
	for _, r := range reservations {
		e.Epoch = r.Epoch // the same for all of an identity
	}
	e.Addresses = slices.SortedFunc(maps.Keys(reservations), netip.Addr.Compare) // IPv4 first
	return e
}

// reserveError translates an error of reserve for the caller.
func (a *Attacher) reserveError(err error, adds []*insertion) error {
	if held, ok := errors.AsType[*reservation.HeldError](err); ok {
		h := held.Reservation.Holder
		when := "it moves when that container is gone"
		if _, left, _ := a.Absences.Over(h.Node, allocator.Stateful); left > 0 {
			when = fmt.Sprintf("that node is away, and its right runs out within %s", left.Round(time.Second))
		}
		return wire.Errorf(wire.CodeTryAgain, "%s has address %s, which is attached to container %s on node %s since %s: %s",
			held.Reservation.Identity, held.Reservation.Address, h.Attachment.Container, h.Node, h.Since.Format(time.RFC3339), when)
	}
	if exhausted, ok := errors.AsType[*reservation.ExhaustedError](err); ok {
		return wire.Errorf(wire.CodeTryAgain, "%w", exhausted)
	}
	if errors.Is(err, record.ErrStaleConfig) {
		if bad := a.Config().BadPool(adds[0].pool.Name); bad != nil {
			return wire.Errorf(wire.CodeTryAgain, "nothing new is reserved in pool %q until its record is repaired: %w", adds[0].pool.Name, bad)
		}
		return wire.Errorf(wire.CodeTryAgain, "the pool has just been changed: %w", err)
	}
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "cannot reserve an address for %s now: %w", adds[0].identity(), err)
	}
	return nil
}

// unreserve detaches a reservation that has not reached the journal. A container that had it before and is isolated stays so.
func (a *Attacher) unreserve(add *insertion) {
	if add.reserved == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), publish.DetachTime)
	defer cancel()
	d := reservation.Detachment{
		Pool: add.pool.Name, Addresses: add.reserved.Addresses, Identity: add.identity(), Attachment: add.attachment, Epoch: add.reserved.Epoch,
	}
	if err := a.Store.Reservations.EndMade(ctx, d); err != nil {
		// The next settling reaps the orphaned reservation.
		a.Log.Warn("cannot detach a reservation yet", zap.Stringer("identity", add.identity()), zap.Error(err))
	}
}
