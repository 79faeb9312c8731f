package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// settle brings journal, kernel and allocator into agreement with what etcd says this node holds. The node key is
// rewritten by now, so that nobody takes anything from this node on older evidence; and no ADD commits meanwhile.
func (a *Agent) settle(ctx context.Context, s *session.Session) error {
	a.unsure.reset()
	blocks, err := a.store.Blocks.List(ctx)
	if err != nil {
		return err
	}
	a.beginAsserting()
	held := a.held(s.Recovering())
	if blocks, err = a.assertBlocks(ctx, s, blocks, held); err != nil {
		return err
	}
	reservations, err := a.store.Reservations.List(ctx)
	if err != nil {
		return err
	}
	asserted, err := a.assertReservations(ctx, s, reservations)
	if err != nil {
		return err
	}
	if asserted { // and what they are now, is known only by reading them again
		if reservations, err = a.store.Reservations.List(ctx); err != nil {
			return err
		}
	}
	assignments, err := a.store.Blocks.Assignments(ctx)
	if err != nil {
		return err
	}
	if !s.Recovering() {
		held = nil // etcd's word is enough
	}
	var unknown []reservation.Detachment
	a.gate.Exclusive(func() {
		a.gate.BeginLocked(s)
		a.settleParts(blocks, s.Generation(), held)
		etcd := newNamed(a, reservations, assignments)
		a.takeInNamed(etcd)
		unknown = a.settleReservations(reservations)
		a.settlePorts(etcd, s.Recovering())
	})
	if err := a.reap(ctx, unknown); err != nil {
		return err
	}
	a.republish(assignments)
	return nil
}

// settleParts brings the allocator to what etcd says are this node's parts, and isolates who has an address in somebody
// else's. Where held is not nil, etcd's word counts only as far as it is among that. What was on its way out under a
// former session is decided by now. It runs under the gate.
func (a *Agent) settleParts(blocks []record.Block, generation int64, held holdings) {
	a.blocks.settle(blocks, generation)
	a.pools.settle(blocks, a.Node, held, a.journal.Forgot())
	keys := make([]ipam.BlockID, len(blocks))
	for i, b := range blocks {
		keys[i] = keyOf(b)
	}
	a.reconcile(keys...)
	a.journal.Forget(func(f journal.Freed) (gone bool) {
		gone = true // if it is not even of a pool that there is
		a.pools.on(f.Pool, f.Address, func(s *allocator.Space) { gone = !s.Owns(f.Address) })
		return gone
	})
}

// settleReservations isolates who has a reserved address that etcd attaches to another, adopts the epochs of those who are
// here, and returns the attachments that etcd believes to be here and that are not.
func (a *Agent) settleReservations(all []record.Reservation) (unknown []reservation.Detachment) {
	for _, r := range all {
		a.compareHolder(r)
		if r.Holder == nil || r.Holder.Node != a.Node {
			continue
		}
		at := r.Holder.Attachment
		if e := a.journal.Holder(r.Pool, r.Address); e != nil && e.Attachment == at {
			a.journal.Adopt(at, r.Epoch)
			continue
		}
		if a.unread.has(at) {
			continue // its port is here, and cannot be read: that is not to be gone
		}
		unknown = append(unknown, reservation.Detachment{
			Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: at, Epoch: r.Epoch,
		})
	}
	return unknown
}

// reap detaches what etcd attaches here and nobody has. A record that cannot be read holds up nothing else.
func (a *Agent) reap(ctx context.Context, unknown []reservation.Detachment) error {
	err := a.store.Reservations.Detach(ctx, merged(unknown))
	if some, is := errors.AsType[*reservation.DetachError](err); is {
		for _, each := range some.Each {
			a.Log.Error("a reservation that nobody here has stays attached to this node: look at berthctl doctor", zap.Error(each))
		}
		return nil
	}
	return err
}

// compareHolder isolates the local container that has the reservation's address if another attachment holds it.
func (a *Agent) compareHolder(r record.Reservation) {
	e := a.journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil {
		return
	}
	a.isolate(e.Attachment, func(e *journal.Entry) *journal.Isolation {
		same := r.Identity == e.Identity()
		switch {
		case r.Holder.Attachment == e.Attachment && r.Holder.Node == a.Node, same && r.Epoch < e.Epoch,
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
