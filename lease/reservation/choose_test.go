package reservation_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// Two nodes, many goroutines each, 500 members: no address twice, none left out.
func TestNoAddressIsReservedTwice(t *testing.T) {
	l := lab.New(t)
	pool := lab.Smallest()
	pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/23")}
	config := l.Apply(l.Store(), pool)
	const members, workers = 500, 8
	nodes := []*lab.Joined{l.Join(l.Store(), "n1"), l.Join(l.Store(), "n2")}
	var next atomic.Int64
	var mu sync.Mutex
	got := map[netip.Addr]allocator.Identity{}
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= members {
					return
				}
				id := lab.Identity("db", i)
				done, err := nodes[w%2].Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", id, fmt.Sprint("c", i))})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other, twice := got[done[0].Address]; twice {
					t.Errorf("%s is reserved for %s and %s", done[0].Address, other, id)
				}
				got[done[0].Address] = id
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if len(got) != members {
		t.Errorf("%d of %d are reserved", len(got), members)
	}
	agree(l, l.Store())
}

func TestAFullPoolSaysHowManyAddressesItHas(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Small())
	x := l.Join(s, "n1")
	// 10.1.0.8 to 15, less the broadcast address and an excluded one.
	for i := range 6 {
		l.Reserve(x, lab.Asking(config, "small", lab.Identity("db", i), fmt.Sprint("c", i)))
	}
	_, err := x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "small", lab.Identity("db", 6), "c6")})
	if full, ok := errors.AsType[*reservation.ExhaustedError](err); !ok || full.Pool != "small" || full.Addresses != 6 {
		t.Fatalf("the error is %v", err)
	}
	// A released one is found, though the caller's view says that all are taken.
	ended, err := s.Reservations.End(t.Context(), lab.Identity("db", 3), true)
	l.Check(err)
	q := lab.Asking(config, "small", lab.Identity("db", 6), "c6")
	q.Taken = func(netip.Addr) bool { return true }
	if got := l.Reserve(x, q); got[0].Address != ended[0].Address {
		t.Errorf("reserved was %s, free was %s", got[0].Address, ended[0].Address)
	}
	agree(l, s)
}

func TestTheCallersViewGuidesTheChoice(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Small())
	var conflicts atomic.Int64
	s := l.Store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, conflict bool, _ error) {
			if conflict {
				conflicts.Add(1)
			}
		}
	})
	x := l.Join(s, "n1")
	taken := map[netip.Addr]bool{}
	for i := range 6 {
		q := lab.Asking(config, "small", lab.Identity("db", i), fmt.Sprint("c", i))
		q.Taken = func(a netip.Addr) bool { return taken[a] }
		taken[l.Reserve(x, q)[0].Address] = true
	}
	if conflicts.Load() > 0 {
		t.Errorf("%d transactions had a conflict", conflicts.Load())
	}
}

func TestAnAddressThatIsAskedForIsGivenOrRefused(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	asked := lab.Addr("10.42.3.7")
	if got := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c0", asked)); got[0].Address != asked {
		t.Fatalf("reserved was %s", got[0].Address)
	}
	if got := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c0", asked)); got[0].Address != asked {
		t.Fatalf("asked again: %s", got[0].Address)
	}
	_, err := x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 1), "c1", asked)})
	if other, ok := errors.AsType[*reservation.ReservedError](err); !ok || other.Reservation.Identity != lab.Identity("db", 0) {
		t.Errorf("another's address: %v", err)
	}
	_, err = x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c0", lab.Addr("10.42.3.8"))})
	if err == nil || !lab.Contains(err, "10.42.3.7") {
		t.Errorf("another one than it has: %v", err)
	}
	for _, a := range []string{"10.42.0.1", "10.42.16.9", "10.9.9.9", "fd00::1"} {
		ask := lab.Asking(config, "default", lab.Identity("db", 2), "c2", lab.Addr(a))
		if _, err := x.Reserve(t.Context(), []reservation.Request{ask}); err == nil {
			t.Errorf("%s was given", a)
		}
	}
	if got, err := s.Reservations.List(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("left behind: %v, %v", got, err)
	}
}

func TestAPoolWithoutAStatefulRangeHasNoReservations(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := lab.Smallest()
	pool.Stateful = nil
	config := l.Apply(s, pool)
	_, err := l.Join(s, "n1").Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c0")})
	if err == nil || !lab.Contains(err, "no stateful v4 range") {
		t.Errorf("the error is %v", err)
	}
}

func TestABlockOfANodeIsNoPlaceForReservations(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := lab.Smallest()
	pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/25")}
	config := l.Apply(s, pool)
	x := l.Join(s, "n1")
	owned := record.Block{Prefix: lab.Prefix("10.42.0.64/26"), Parts: []record.Part{{Prefix: lab.Prefix("10.42.0.64/26"), Owner: "n9"}}}
	l.Put(s.KV.Keys.Block("default", owned.Prefix), kv.Encode(owned))
	for i := range 62 {
		if got := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", i), fmt.Sprint("c", i))); owned.Prefix.Contains(got[0].Address) {
			t.Fatalf("%s is in a node's block", got[0].Address)
		}
	}
	agree(l, s)
}
