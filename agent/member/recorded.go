package member

import (
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// recorded are the holders of addresses by etcd. Blocks are those of this node's view; reservations and assignments are those
// that settling has read.
type recorded struct {
	settler      *Settler
	reservations map[ipam.Address]record.Reservation
	assignments  map[ipam.Address]record.Assignment
}

func newRecorded(a *Settler, reservations []record.Reservation, assignments []record.Assignment) *recorded {
	n := &recorded{a, map[ipam.Address]record.Reservation{}, map[ipam.Address]record.Assignment{}}
	for _, r := range reservations {
		n.reservations[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
	}
	for _, s := range assignments {
		n.assignments[ipam.Address{Pool: s.Pool, Addr: s.Address}] = s
	}
	return n
}

// exactly reports whether etcd records all addresses of an entry for its attachment on this node.
func (n *recorded) exactly(e *journal.Entry) bool {
	if e.Class == allocator.Stateful {
		return n.settler.attached(e, n.reservations)
	}
	return n.allows(e) && !slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		s := n.assignments[ipam.Address{Pool: e.Pool, Addr: addr}]
		return s.Node != n.settler.Name || s.Attachment != e.Attachment
	})
}

// allows reports whether an entry whose port was found cut may pass. The journal does not isolate it: the table was flushed, or
// an agent ended between a cut and its record in the journal.
func (n *recorded) allows(e *journal.Entry) bool {
	if e.Class == allocator.Stateful {
		return n.settler.attached(e, n.reservations)
	}
	return !slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		return n.settler.addresses.OwnerOf(e.Pool, addr) != n.settler.Name || n.anothers(e, addr)
	})
}

// anothers reports whether an address of a stateless entry is another's: by a reservation, which it has where the record of a block
// that was kept for reservations was deleted by hand, or by this node's journal.
func (n *recorded) anothers(e *journal.Entry, addr netip.Addr) bool {
	if r := n.reservations[ipam.Address{Pool: e.Pool, Addr: addr}]; r.Holder != nil {
		return true
	}
	holder := n.settler.Journal.Holder(e.Pool, addr)
	return holder != nil && holder.Attachment != e.Attachment
}

// settlePorts opens the ports whose containers etcd confirms. An open port stays open: only another's record isolates. A cut port
// stays cut until etcd records its container; while etcd recovers, that alone ends no isolation.
func (se *Settler) settlePorts(etcd *recorded, recovering bool) {
	classes, err := se.Kernel().Classes()
	if err != nil {
		se.Log.Error("cannot let the containers' ports pass; this node settles again", zap.Error(err))
		se.SettleAgain()
		return
	}
	var waiting, reported []*journal.Entry
	for _, e := range se.Journal.Entries() {
		switch {
		case e.Isolated != nil && (recovering || !etcd.exactly(e)):
			se.isolator.Cut(e)
			waiting = append(waiting, e)
			continue
		case e.Isolated != nil:
			se.Log.Info("a container is isolated no more: etcd records it", zap.Stringer("attachment", e.Attachment),
				zap.Stringers("addresses", e.Addresses))
			se.Journal.Lift(e.Attachment)
		}
		switch port := e.Wiring.Port; {
		case se.isolator.HoldBack(e) != nil:
			waiting, reported = append(waiting, e), append(reported, e)
		case e.Answered == 0 || port == "" || classes[port] == string(e.Class):
		case !etcd.allows(e):
			se.isolator.ReportCut(e)
			waiting, reported = append(waiting, e), append(reported, e)
		default:
			se.isolator.Uncut(e.Attachment)
		}
	}
	se.isolator.AwaitRecords(waiting, reported)
}
