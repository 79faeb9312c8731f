package reservation_test

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// counts are a store's transactions of some kind. One whose answer is lost is sent again, and raises the epoch once more: a slow etcd
// must not fail a test, so no test asks for an exact epoch.
type counts struct{ answered, lost atomic.Int64 }

func counting(l *lab.Lab, operation string) (*lab.Store, *counts) {
	var n counts
	s := l.Store(func(o *kv.Options) {
		o.Observe = func(what string, _ time.Duration, _ bool, err error) {
			switch {
			case what == operation && err == nil:
				n.answered.Add(1)
			case what == operation:
				n.lost.Add(1)
			}
		}
	})
	return s, &n
}

func TestAThousandMembersShareFewTransactions(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	const members, most = 1000, 20
	epochs := make([]int64, members)
	for round, name := range []string{"n1", "n2", "n3"} {
		// Each node is a process of its own, which knows nothing of what is there.
		s, transactions := counting(l, "reserve")
		x := l.Join(s, name)
		done, err := x.Reserve(t.Context(), set(config, "default", "db", members, name))
		l.Check(err)
		t.Logf("%d members on %s: %d transactions", members, name, transactions.answered.Load())
		if len(done) != members || transactions.answered.Load() > most*int64(min(round+1, 2)) {
			t.Fatalf("%d of %d in %d transactions", len(done), members, transactions.answered.Load())
		}
		seen := map[netip.Addr]bool{}
		for i, r := range done {
			if seen[r.Address] || r.Identity != lab.Identity("db", i) || r.Epoch <= epochs[i] {
				t.Fatalf("reserved was %+v", r)
			}
			epochs[i] = r.Epoch
			seen[r.Address] = true
		}
		if round == 0 {
			agree(l, s, done...)
		}
		l.Check(s.Reservations.Detach(t.Context(), detachments(done)))
	}
}

func TestAStatefulAddIsOneTransaction(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	s, transactions := counting(l, "reserve")
	go func() { _ = s.Reservations.Follow(t.Context(), func(kv.Update[record.Reservation]) {}) }()
	go func() { _ = s.Blocks.Follow(t.Context(), func(kv.Update[record.Block]) {}) }()
	x, other := l.Join(s, "n1"), l.Join(l.Store(), "n2")
	for i := 0; ; i++ { // until no answer was lost
		id := lab.Identity("db", i)
		lost, began := transactions.lost.Load(), transactions.answered.Load()
		first := l.Reserve(x, lab.Asking(config, "default", id, "c1"))[0]
		fresh := transactions.answered.Load() - began
		l.Check(s.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
		moved := l.Reserve(other, lab.Asking(config, "default", id, "c2"))[0]
		l.Check(other.Store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(moved)}))
		l.Until("the first node has heard of the move", func() bool {
			known := s.Reservations.Cached(id)
			return len(known) == 1 && known[0].Epoch == moved.Epoch && known[0].Holder == nil
		})
		l.Reserve(x, lab.Asking(config, "default", id, "c3"))
		if transactions.lost.Load() > lost {
			continue
		}
		if known := transactions.answered.Load() - began - fresh; fresh != 1 || known != 1 {
			t.Errorf("a new member took %d transactions, a known one %d", fresh, known)
		}
		return
	}
}

func TestWhatWasDoneOfASetIsReturnedBesideTheError(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	n1, n2 := l.Join(s, "n1"), l.Join(l.Store(), "n2")
	l.Reserve(n2, lab.Asking(config, "default", lab.Identity("db", 5), "elsewhere"))
	done, err := n1.Reserve(t.Context(), set(config, "default", "db", 10, "c"))
	if !isHeld(err) {
		t.Fatalf("the error is %v", err)
	}
	for _, r := range done {
		if r.Identity == lab.Identity("db", 5) {
			t.Errorf("done was %+v", r)
		}
	}
	agree(l, s, done...)
	l.Check(s.Reservations.Detach(t.Context(), detachments(done)))
	all, err := s.Reservations.List(t.Context())
	l.Check(err)
	for _, r := range all {
		if (r.Holder != nil) != (r.Identity == lab.Identity("db", 5)) {
			t.Errorf("after the undoing there is %+v", r)
		}
	}
}

func TestASetThatIsNoneIsRefused(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	twice := lab.Asking(config, "default", lab.Identity("db", 0), "c0")
	asked := [2]reservation.Request{lab.Asking(config, "default", lab.Identity("db", 1), "c1", lab.Addr("10.42.0.9")),
		lab.Asking(config, "default", lab.Identity("db", 2), "c2", lab.Addr("10.42.0.9"))}
	unnamed := lab.Asking(config, "default", allocator.Identity{Namespace: "ns", App: "db", Network: "net", Interface: "eth0"}, "c3")
	nowhere := lab.Asking(config, "default", lab.Identity("db", 3), "")
	stale := lab.Asking(config, "default", lab.Identity("db", 4), "c4")
	stale.PoolRevision--
	for want, requests := range map[string][]reservation.Request{
		"twice in the set":        {twice, twice},
		"asked for twice":         asked[:],
		"member is missing":       {unnamed},
		"container ID is missing": {nowhere},
		"the pool has changed":    {twice, stale},
	} {
		if done, err := x.Reserve(t.Context(), requests); err == nil || !lab.Contains(err, want) || len(done) > 0 {
			t.Errorf("the error does not say %q: %v; done was %v", want, err, done)
		}
	}
	if all, err := s.Reservations.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	if done, err := x.Reserve(t.Context(), nil); err != nil || len(done) > 0 {
		t.Errorf("nobody: %v, %v", done, err)
	}
}

func TestAMemberHasAnAddressOfEachFamilyOrNone(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, both())
	n1, n2 := l.Join(s, "n1"), l.Join(l.Store(), "n2")
	first := l.Reserve(n1, lab.Asking(config, "both", lab.Identity("db", 0), "c1"))
	if !first[0].Address.Is4() || !first[1].Address.Is6() || first[0].Revision != first[1].Revision {
		t.Fatalf("reserved was %+v", first)
	}
	// One family's address is another's: neither is given.
	_, err := n2.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "both", lab.Identity("db", 1), "c2", lab.Addr("10.2.0.33"),
		first[1].Address)})
	if other, ok := errors.AsType[*reservation.ReservedError](err); !ok || other.Reservation.Identity != lab.Identity("db", 0) {
		t.Errorf("the error is %v", err)
	}
	if r, err := s.Reservations.Of(t.Context(), "both", lab.Addr("10.2.0.33")); err != nil || r != nil {
		t.Errorf("half of a refused one is there: %+v, %v", r, err)
	}

	d := detachment(first[0])
	d.Addresses = append(d.Addresses, first[1].Address)
	l.Check(n2.Store.Reservations.Detach(t.Context(), []reservation.Detachment{d}))
	moved := l.Reserve(n2, lab.Asking(config, "both", lab.Identity("db", 0), "c2"))
	for i := range moved {
		if moved[i].Address != first[i].Address || moved[i].Epoch <= first[i].Epoch {
			t.Errorf("moved was %+v", moved[i])
		}
	}
	l.Check(n1.Store.Reservations.Detach(t.Context(), []reservation.Detachment{d}))
	agree(l, s, moved...)
	// What is missing of one family is asserted again, with the epoch that the other one has.
	l.Delete(s.KV.Keys.Reservation("both", moved[1].Address))
	again := l.Reserve(l.Join(l.Store(), "n2"), lab.Asking(config, "both", lab.Identity("db", 0), "c2"))
	if again[0].Epoch <= moved[0].Epoch || again[1].Epoch != again[0].Epoch || again[1].Address != moved[1].Address {
		t.Errorf("asserted was %+v", again)
	}
	agree(l, s, again...)

	ended, err := s.Reservations.End(t.Context(), lab.Identity("db", 0), true)
	if all, _ := s.Reservations.List(t.Context()); err != nil || len(ended) != 2 || len(all) > 0 {
		t.Errorf("ended was %v, %v; left are %v", ended, err, all)
	}
}
