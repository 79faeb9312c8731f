package reservation_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestAfterLostAnswersEveryMemberHasOneAddress(t *testing.T) {
	l := lab.New(t)
	pool := lab.Smallest()
	pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/25")}
	config := l.Apply(l.Store(), pool)
	const nodes, members = 3, 60
	var wait sync.WaitGroup
	var mu sync.Mutex
	var said []record.Reservation
	for n := range nodes {
		wait.Go(func() {
			l.Shaky(func(s *lab.Store) {
				x := l.InsistJoin(s, fmt.Sprint("n", n))
				for i := n; i < members; i += nodes {
					var got []record.Reservation
					err := l.Insist(func(ctx context.Context) (err error) {
						got, err = x.Reserve(ctx, []reservation.Request{lab.Asking(config, "default", lab.Identity("db", i), fmt.Sprint("c", i))})
						return err
					})
					if err == nil && i%4 == 0 {
						d := detachment(got[0])
						err = l.Insist(func(ctx context.Context) error { return s.Reservations.Detach(ctx, []reservation.Detachment{d}) })
						got = nil
					}
					if err != nil {
						t.Errorf("member %d: %v", i, err)
						return
					}
					mu.Lock()
					said = append(said, got...)
					mu.Unlock()
				}
			})
		})
	}
	wait.Wait()
	agree(l, l.Store(), said...)
	all, err := l.Store().Reservations.List(t.Context())
	l.Check(err)
	owner := map[allocator.Identity]netip.Addr{}
	for _, r := range all {
		if other, twice := owner[r.Identity]; twice {
			t.Errorf("%s has %s and %s", r.Identity, other, r.Address)
		}
		owner[r.Identity] = r.Address
	}
	if len(all) != members {
		t.Errorf("%d members have %d reservations", members, len(all))
	}
}
