package member

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// restoreRecorded restores the journal's entries for ports whose containers etcd records. The gate is held.
func (se *Settler) restoreRecorded(etcd *recorded) {
	for _, r := range etcd.reservations {
		if r.Holder == nil || r.Holder.Node != se.Name {
			continue
		}
		if p, is := se.isolator.Unidentified.Of(r.Holder.Attachment); is {
			i := r.Identity
			se.restoreWhole(p, &journal.Entry{
				Attachment: r.Holder.Attachment, Class: allocator.Stateful, App: allocator.App{Namespace: i.Namespace, Name: i.App},
				Member: i.Member, Pool: r.Pool, Addresses: etcd.reservedWith(r), Epoch: r.Epoch,
			})
		}
	}
	for _, s := range etcd.assignments {
		if s.Node != se.Name || se.addresses.OwnerOf(s.Pool, s.Address) != se.Name {
			continue
		}
		if p, is := se.isolator.Unidentified.Of(s.Attachment); is {
			se.restoreWhole(p, &journal.Entry{
				Attachment: s.Attachment, Class: allocator.Stateless, App: s.App, Pool: s.Pool, Addresses: etcd.assignedWith(s),
			})
		}
	}
}

// reservedWith are the addresses of all reservations of the same attachment.
func (n *recorded) reservedWith(one record.Reservation) (all []netip.Addr) {
	for _, r := range n.reservations {
		if r.Pool == one.Pool && r.Identity == one.Identity && r.Holder != nil && r.Holder.Attachment == one.Holder.Attachment &&
			r.Holder.Node == one.Holder.Node {
			all = append(all, r.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare) // IPv4 first
	return all
}

// assignedWith are the addresses of an assignment's attachment.
func (n *recorded) assignedWith(one record.Assignment) (all []netip.Addr) {
	for _, s := range n.assignments {
		if s.Pool == one.Pool && s.Attachment == one.Attachment && s.Node == one.Node {
			all = append(all, s.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// familiesOf is how many addresses a port's container has: by the port's own words, else one of each of its pool's families. One that was
// made before its pool had the second family has one.
func familiesOf(p netops.PortInfo, pool *allocator.Pool) int {
	if said, err := plan.ParseAlias(p); err == nil {
		return len(said.Addresses)
	}
	return len(pool.Families())
}

// restoreWhole restores an entry if etcd records an address of each family that its container has. The container still has one that
// etcd records no more, which may be another's by now.
func (se *Settler) restoreWhole(p netops.PortInfo, e *journal.Entry) {
	pool, _, err := se.Pool(e.Pool)
	switch {
	case err != nil:
		se.isolator.SetAside(p, fmt.Sprintf("etcd records %v for %s, of a pool that is not known now: %v", e.Addresses, e.Attachment, err))
	case len(e.Addresses) < familiesOf(p, pool):
		se.isolator.SetAside(p, fmt.Sprintf("etcd records only %v for %s, and it has addresses of both families",
			e.Addresses, e.Attachment))
	default:
		se.RestoreEntry(p, e)
	}
}

// RestoreEntry adds an entry that the journal has lost, of a port that exists. An address that another container here has stays
// with that one.
func (se *Settler) RestoreEntry(p netops.PortInfo, e *journal.Entry) {
	for _, addr := range e.Addresses {
		if holder := se.Journal.Holder(e.Pool, addr); holder != nil {
			se.isolator.SetAside(p, fmt.Sprintf("%s says that it has %s, which %s has", e.Attachment, addr, holder.Attachment))
			return
		}
	}
	now := se.Clock.Boot()
	e.Role, e.Began, e.Answered, e.Since = wire.Interface, now, now, se.Clock.Wall()
	routed, mac := e.Wiring.Routed, cmp.Or(e.Wiring.MAC, netops.MACFor(e.Addresses).String())
	e.Wiring = journal.Wiring{Port: p.Name, Bridge: p.Bridge, MAC: mac, Routed: routed, MasqUnknown: !routed}
	var err error
	if routed {
		e.Wiring.Bridge = ""
	} else if e.Wiring.Uplink, err = se.Kernel().Uplink(p.Bridge); err != nil {
		e.Wiring.Unsure = true
		se.Log.Error("what a container needs of its bridge is not known any more: make it anew", zap.Stringer("attachment", e.Attachment),
			zap.Error(err))
	}
	se.Log.Warn("the journal is lost; restored the entry of a running container", zap.Stringer("attachment", e.Attachment),
		zap.Stringers("addresses", e.Addresses))
	se.EntryRestored(e.Attachment) // first, so that no status counts it as up to date
	se.Journal.Keep(e)
	se.isolator.Identified(p.Name)
}
