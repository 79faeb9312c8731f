package agent

import (
	"context"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
)

// settle brings journal, kernel and allocator into agreement with what etcd says this node holds. The node key is
// rewritten by now, so that nobody takes anything from this node on older evidence; and no ADD commits meanwhile.
func (a *Agent) settle(ctx context.Context, s *lease.Session) error {
	blocks, err := a.store.Blocks(ctx)
	if err != nil {
		return err
	}
	held := a.held(s.Recovering())
	if blocks, err = a.assertBlocks(ctx, s, blocks, held); err != nil {
		return err
	}
	reservations, err := a.store.Reservations(ctx)
	if err != nil {
		return err
	}
	if err := a.assertReservations(ctx, s, reservations); err != nil {
		return err
	}
	if reservations, err = a.store.Reservations(ctx); err != nil {
		return err
	}
	a.gate.Lock()
	a.session = s
	if !s.Recovering() {
		held = nil // etcd's word is enough
	}
	a.settleParts(blocks, s.Generation(), held)
	unknown := a.settleReservations(reservations)
	a.settlePorts()
	a.gate.Unlock()

	if err := a.store.Detach(ctx, merged(unknown)); err != nil {
		return err
	}
	return a.republish(ctx, blocks)
}

// settleParts brings the allocator to what etcd says are this node's parts, and isolates who has an address in somebody
// else's. Where held is not nil, etcd's word counts only as far as it is among that. What was on its way out under a
// former session is decided by now. It runs under the gate.
func (a *Agent) settleParts(blocks []lease.Block, generation int64, held holdings) {
	a.blocks.settle(blocks, generation)
	a.pools.settle(blocks, a.Node, held, a.journal.Forgot())
	keys := make([]blockKey, len(blocks))
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

// settleReservations isolates who has a reserved address that etcd attaches to another, and returns the attachments
// that etcd believes to be here and that are not.
func (a *Agent) settleReservations(all []lease.Reservation) (unknown []lease.Detachment) {
	for _, r := range all {
		a.compareHolder(r)
		if r.Holder == nil || r.Holder.Node != a.Node {
			continue
		}
		e := a.journal.Holder(r.Pool, r.Address)
		if e != nil && e.Attachment == r.Holder.Attachment && a.adoptEpoch(e, r.Epoch) == nil {
			continue
		}
		unknown = append(unknown, lease.Detachment{
			Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment, Epoch: r.Epoch,
		})
	}
	return unknown
}

// adoptEpoch makes the journal know the epoch by which etcd attaches a reservation to a container that is here: its DEL
// has to name it.
func (a *Agent) adoptEpoch(e *journal.Entry, epoch int64) error {
	if e.Epoch == epoch {
		return nil
	}
	next := *e
	next.Epoch = epoch
	return a.journal.Hold(&next)
}

// holdOn writes an entry as whoever has its attachment's lock has changed it, but with the epoch that the journal has by now:
// settling may have adopted another since the entry was read. The gate is held.
func (a *Agent) holdOn(e *journal.Entry) error {
	if now := a.journal.Get(e.Attachment); now != nil {
		e.Epoch = now.Epoch
	}
	return a.journal.Hold(e)
}

// compareHolder isolates the local container that has the reservation's address if another attachment holds it.
func (a *Agent) compareHolder(r lease.Reservation) {
	e := a.journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil || r.Identity == e.Identity() && r.Epoch < e.Epoch || r.Holder.Attachment == e.Attachment && r.Holder.Node == a.Node {
		return
	}
	a.isolate(e, fmt.Sprintf("address %s is attached to %s on node %s now", r.Address, r.Holder.Attachment, r.Holder.Node))
}

// settlePorts lets pass who has kept its address.
func (a *Agent) settlePorts() {
	for _, e := range a.journal.Entries() {
		if e.Answered == 0 {
			continue
		}
		if _, err := a.letPass(e); err != nil {
			a.Log.Error("cannot let a container's port pass", zap.Stringer("attachment", e.Attachment), zap.Error(err))
		}
	}
}
