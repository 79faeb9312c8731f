package lab

import (
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// Reserves reserves an address of the pool default.
func (l *Lab) Reserves(s *Store, c *config.Config, i allocator.Identity, a string) error {
	_, err := s.Reservations.ReserveFor(l.Context(), c.Pools["default"], c.PoolRevisions["default"], i, []netip.Addr{Addr(a)})
	return err
}

// Assigned is what is published of an address that container c1 on node n1 has.
func Assigned(a string) record.Assignment {
	at := allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"}
	return record.Assignment{Pool: "default", Address: Addr(a), Node: "n1", Attachment: at}
}

// Asking is a request by a configuration.
func Asking(c *config.Config, pool string, id allocator.Identity, container string, asked ...netip.Addr) reservation.Request {
	return reservation.Request{Pool: c.Pools[pool], PoolRevision: c.PoolRevisions[pool], Identity: id, Attachment: Attachment(container),
		Addresses: asked}
}

// Reserve is a Reserve of one member that must succeed.
func (l *Lab) Reserve(x *Joined, q reservation.Request) []record.Reservation {
	l.Helper()
	got, err := x.Reserve(l.Context(), []reservation.Request{q})
	l.Check(err)
	if len(got) != len(q.Pool.Families()) {
		l.Fatalf("reserved was %+v", got)
	}
	return got
}

// Identity is that of a member of an app.
func Identity(app string, member int) allocator.Identity {
	return allocator.Identity{Namespace: "ns", App: app, Member: fmt.Sprint(app, "-", member), Network: "net", Interface: "eth0"}
}

// Attachment is that of a container.
func Attachment(container string) allocator.Attachment {
	return allocator.Attachment{Network: "net", Container: container, Interface: "eth0"}
}
