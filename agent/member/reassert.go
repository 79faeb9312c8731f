package member

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// assertTime bounds the wait for a request for the container whose reservation is to be asserted.
const assertTime = 5 * time.Second

// assertReservations restores in etcd the reservations of the stateful containers here, and isolates those whose address is
// another's by now. A member has no other reservation than the one that its container holds. It reports whether it has changed
// anything, or tried to.
func (se *Settler) assertReservations(ctx context.Context, s *session.Session, all []record.Reservation) (asserted bool, err error) {
	in := map[ipam.Address]record.Reservation{}
	for _, r := range all {
		in[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
	}
	own := map[allocator.Identity]*journal.Entry{} // by etcd, too
	for _, e := range se.Journal.Entries() {
		if e.Class != allocator.Stateful || e.Answered == 0 || e.Isolated != nil {
			continue
		}
		if se.attached(e, in) {
			own[e.Identity()] = e
			continue
		}
		asserted = true
		if err := se.assertReservation(ctx, s, e.Attachment); err != nil {
			return asserted, err
		}
	}
	if s.Recovering() {
		return asserted, nil // others have not asserted all yet
	}
	for _, r := range all {
		if e := own[r.Identity]; e != nil && r.Holder == nil {
			asserted = true
			if err := se.renameReservation(ctx, s, e); err != nil {
				return asserted, err
			}
		}
	}
	return asserted, nil
}

// renameReservation lets a member whose container holds its reservation have that alone, where a restored etcd has brought back what
// the member had before.
func (se *Settler) renameReservation(ctx context.Context, s *session.Session, e *journal.Entry) error {
	pool, known := se.Config().Pools[e.Pool]
	if !known {
		return nil // the pool is gone, and with it what could be renamed
	}
	done, err := reservation.Rename(ctx, s, reservation.Assertion{
		Pool: pool, Identity: e.Identity(), Attachment: e.Attachment, Addresses: e.Addresses, Epoch: e.Epoch,
	})
	switch {
	case se.Damaged(err):
		return nil // the doctor says what the record is to be
	case err != nil:
		return err
	case done:
		se.Log.Info("etcd had a former address of a member beside the one that its container has; the former one is given up",
			zap.Stringer("attachment", e.Attachment), zap.Stringers("addresses", e.Addresses))
	}
	return nil
}

// attached reports whether records attach all of an entry's addresses to it.
func (se *Settler) attached(e *journal.Entry, in map[ipam.Address]record.Reservation) bool {
	return !slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		r, there := in[ipam.Address{Pool: e.Pool, Addr: addr}]
		return !there || r.Identity != e.Identity() || r.Holder == nil || r.Holder.Attachment != e.Attachment || r.Holder.Node != se.Name
	})
}

func (se *Settler) assertReservation(ctx context.Context, s *session.Session, at allocator.Attachment) error {
	ctx, cancel := context.WithTimeout(ctx, assertTime)
	defer cancel()
	unlock, err := se.Locks.Lock(ctx, at) // excludes a concurrent DEL
	if err != nil {
		return fmt.Errorf("agent: assert the reservation of %s: a request for it is under way: %w", at, err)
	}
	defer unlock()
	e := se.Journal.Get(at)
	if e == nil {
		return nil
	}
	pool, _, err := se.Pool(e.Pool)
	if err != nil {
		return nil // the pool is gone, and with it what could be asserted
	}
	if decided, err := se.isolateMember(ctx, s, e); decided || err != nil {
		return err
	}
	epoch, ok, err := reservation.Assert(ctx, s, reservation.Assertion{
		Pool: *pool, Identity: e.Identity(), Attachment: at, Workload: e.Workload, Addresses: e.Addresses, Epoch: e.Epoch,
	})
	switch {
	case se.Damaged(err):
		se.isolator.Unsure.Add(at, err)
		return nil
	case err != nil:
		return err
	case !ok:
		se.isolator.Isolate(at, isolation.LostFor(e, "its reservation is another's now"))
		return nil
	}
	se.Log.Warn("etcd had no record of a container's reservation; it is restored",
		zap.Stringer("attachment", at), zap.Stringers("addresses", e.Addresses))
	se.Journal.Adopt(at, epoch)
	return nil
}
