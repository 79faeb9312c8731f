package reservation_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// agree checks what must always hold between identities, reservations and blocks, and that what a call said is there.
func agree(l *lab.Lab, s *lab.Store, said ...record.Reservation) {
	l.Helper()
	all, err := s.Reservations.List(l.Context())
	l.Check(err)
	blocks, err := s.Blocks.List(l.Context())
	l.Check(err)
	byAddress, owners := map[ipam.Address]record.Reservation{}, map[allocator.Identity]int{}
	for _, r := range all {
		byAddress[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
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
		record, err := kv.One(l.Context(), s.KV, record.IdentityCodec, s.KV.Keys.Identity(r.Identity))
		l.Check(err)
		if record == nil || record.Pool != r.Pool {
			l.Errorf("the record of %s is %+v", r.Identity, record)
		}
	}
	for _, r := range said {
		got, there := byAddress[ipam.Address{Pool: r.Pool, Addr: r.Address}]
		if !there || got.Identity != r.Identity || got.Epoch != r.Epoch || got.Revision != r.Revision ||
			(got.Holder == nil) != (r.Holder == nil) {
			l.Errorf("said was %+v, etcd has %+v", r, got)
		}
	}
}

func detachment(r record.Reservation) reservation.Detachment {
	return reservation.Detachment{Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment,
		Epoch: r.Epoch}
}

func isHeld(err error) bool {
	_, ok := errors.AsType[*reservation.HeldError](err)
	return ok
}

// set asks for members of an app, each in a container of its own.
func set(c *config.Config, pool, app string, members int, generation string) (all []reservation.Request) {
	for i := range members {
		all = append(all, lab.Asking(c, pool, lab.Identity(app, i), fmt.Sprint(generation, "-", i)))
	}
	return all
}

func detachments(reservations []record.Reservation) (all []reservation.Detachment) {
	for _, r := range reservations {
		all = append(all, detachment(r))
	}
	return all
}
