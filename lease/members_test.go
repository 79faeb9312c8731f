package lease

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
)

// asking is a request by a configuration.
func asking(c *Config, pool string, id allocator.Identity, container string, asked ...netip.Addr) ReserveRequest {
	return ReserveRequest{Pool: c.Pools[pool], PoolRevision: c.PoolRevisions[pool], Identity: id, Attachment: attachment(container),
		Addresses: asked}
}

// reserve is a Reserve of one member that must succeed.
func (l *lab) reserve(x *joined, q ReserveRequest) []Reservation {
	l.Helper()
	got, err := x.Reserve(l.Context(), []ReserveRequest{q})
	l.check(err)
	if len(got) != len(q.Pool.Families()) {
		l.Fatalf("reserved was %+v", got)
	}
	return got
}

// agree checks what must always hold between identities, reservations and blocks, and that what a call said is there.
func (l *lab) agree(s *Store, said ...Reservation) {
	l.Helper()
	all, err := s.Reservations(l.Context())
	l.check(err)
	blocks, err := s.Blocks(l.Context())
	l.check(err)
	byAddress, owners := map[addressAt]Reservation{}, map[allocator.Identity]int{}
	for _, r := range all {
		byAddress[addressAt{r.Pool, r.Address}] = r
		owners[r.Identity]++
		inside := 0
		for _, b := range blocks {
			if b.Pool == r.Pool && b.Prefix.Contains(r.Address) && b.Stateful() {
				inside++
			}
		}
		if inside != 1 {
			l.Errorf("reservation %s lies in %d stateful blocks", r.Address, inside)
		}
		record, err := one(l.Context(), s.Client, identityCodec, s.keys.identity(r.Identity))
		l.check(err)
		if record == nil || record.Pool != r.Pool {
			l.Errorf("the record of %s is %+v", r.Identity, record)
		}
	}
	for _, r := range said {
		got, there := byAddress[addressAt{r.Pool, r.Address}]
		if !there || got.Identity != r.Identity || got.Epoch != r.Epoch || got.Revision != r.Revision ||
			(got.Holder == nil) != (r.Holder == nil) {
			l.Errorf("said was %+v, etcd has %+v", r, got)
		}
	}
}

func detachment(r Reservation) Detachment {
	return Detachment{Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment, Epoch: r.Epoch}
}

func isHeld(err error) bool {
	_, ok := errors.AsType[*HeldError](err)
	return ok
}

// set asks for members of an app, each in a container of its own.
func set(c *Config, pool, app string, members int, generation string) (all []ReserveRequest) {
	for i := range members {
		all = append(all, asking(c, pool, identity(app, i), fmt.Sprint(generation, "-", i)))
	}
	return all
}

func detachments(reservations []Reservation) (all []Detachment) {
	for _, r := range reservations {
		all = append(all, detachment(r))
	}
	return all
}

func identity(app string, member int) allocator.Identity {
	return allocator.Identity{Namespace: "ns", App: app, Member: fmt.Sprint(app, "-", member), Network: "net", Interface: "eth0"}
}

func attachment(container string) allocator.Attachment {
	return allocator.Attachment{Network: "net", Container: container, Interface: "eth0"}
}
