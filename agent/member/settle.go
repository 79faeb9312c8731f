package member

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// settle brings journal, kernel and allocator into agreement with what etcd records for this node. The node key has been
// rewritten, so that no node takes anything over on older evidence. No ADD commits meanwhile.
func (se *Settler) settle(ctx context.Context, s *session.Session) error {
	se.isolator.Unsure.Reset()
	blocks, err := se.Store.Blocks.List(ctx)
	if err != nil {
		return err
	}
	se.noteAsserted()
	if !s.Recovering() { // else etcd may have lost the configuration by which the container got its address
		if err := se.isolateGateways(ctx); err != nil {
			return err
		}
	}
	held := se.addresses.Held(s.Recovering())
	if blocks, err = se.addresses.AssertBlocks(ctx, s, blocks, held); err != nil {
		return err
	}
	reservations, err := se.Store.Reservations.List(ctx)
	if err != nil {
		return err
	}
	asserted, err := se.assertReservations(ctx, s, reservations)
	if err != nil {
		return err
	}
	if asserted { // read them again as they are now
		if reservations, err = se.Store.Reservations.List(ctx); err != nil {
			return err
		}
	}
	assignments, err := se.Store.Blocks.Assignments(ctx)
	if err != nil {
		return err
	}
	if !s.Recovering() {
		held = nil // etcd's records are enough
	}
	var unknown []reservation.Detachment
	se.Gate.Exclusive(func() {
		se.Gate.BeginLocked(s)
		se.addresses.SettleParts(blocks, s.Generation(), held)
		etcd := newRecorded(se, reservations, assignments)
		se.restoreRecorded(etcd)
		unknown = se.settleReservations(reservations)
		se.settlePorts(etcd, s.Recovering())
	})
	if err := se.reap(ctx, unknown); err != nil {
		return err
	}
	se.publisher.Republish(assignments)
	return nil
}

// settleReservations isolates containers whose reserved address etcd attaches to another, adopts the epochs of the others, and
// returns the attachments that etcd records here and that do not exist.
func (se *Settler) settleReservations(all []record.Reservation) (unknown []reservation.Detachment) {
	for _, r := range all {
		se.CompareHolder(r)
		if r.Holder == nil || r.Holder.Node != se.Name {
			continue
		}
		at := r.Holder.Attachment
		if e := se.Journal.Holder(r.Pool, r.Address); e != nil && e.Attachment == at {
			se.Journal.Adopt(at, r.Epoch)
			continue
		}
		if se.isolator.Unidentified.Has(at) {
			continue // its port is here and unidentified, which does not mean that it is gone
		}
		unknown = append(unknown, reservation.Detachment{
			Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: at, Epoch: r.Epoch,
		})
	}
	return unknown
}

// reap detaches what etcd attaches here and no container has. An unreadable record delays no other.
func (se *Settler) reap(ctx context.Context, unknown []reservation.Detachment) error {
	err := se.Store.Reservations.Detach(ctx, publish.MergeDetachments(unknown))
	if some, is := errors.AsType[*reservation.DetachError](err); is {
		for _, each := range some.Each {
			se.Log.Error("a reservation that nobody here has stays attached to this node: look at berthctl doctor", zap.Error(each))
		}
		return nil
	}
	return err
}

// CompareHolder isolates the local container that has a reservation's address if the reservation is attached to another.
func (se *Settler) CompareHolder(r record.Reservation) {
	e := se.Journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil {
		return
	}
	se.isolator.Isolate(e.Attachment, func(e *journal.Entry) *journal.Isolation {
		same := r.Identity == e.Identity()
		switch {
		case r.Holder.Attachment == e.Attachment && r.Holder.Node == se.Name, same && r.Epoch < e.Epoch,
			e.Pool != r.Pool || !slices.Contains(e.Addresses, r.Address):
			return nil
		}
		epoch := r.Epoch
		if !same {
			epoch = journal.Never
		}
		return &journal.Isolation{Epoch: epoch,
			Reason: fmt.Sprintf("address %s is attached to %s on node %s now", r.Address, r.Holder.Attachment, r.Holder.Node)}
	})
}
