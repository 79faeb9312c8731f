package lease

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// counting is a store that counts its transactions of some kind.
func (l *lab) counting(operation string) (*Store, *atomic.Int64) {
	var n atomic.Int64
	s := l.store(func(o *kv.Options) {
		o.Observe = func(what string, _ time.Duration, _ bool, _ error) {
			if what == operation {
				n.Add(1)
			}
		}
	})
	return s, &n
}

func TestAThousandMembersShareFewTransactions(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	const members, most = 1000, 20
	for round, name := range []string{"n1", "n2", "n3"} {
		// Each node is a process of its own, which knows nothing of what is there.
		s, transactions := l.counting("reserve")
		x := l.join(s, name)
		done, err := x.Reserve(t.Context(), set(config, "default", "db", members, name))
		l.check(err)
		t.Logf("%d members on %s: %d transactions", members, name, transactions.Load())
		if len(done) != members || transactions.Load() > most*int64(min(round+1, 2)) {
			t.Fatalf("%d of %d in %d transactions", len(done), members, transactions.Load())
		}
		seen := map[netip.Addr]bool{}
		for i, r := range done {
			if seen[r.Address] || r.Identity != identity("db", i) || r.Epoch != int64(round+1) {
				t.Fatalf("reserved was %+v", r)
			}
			seen[r.Address] = true
		}
		if round == 0 {
			l.agree(s, done...)
		}
		l.check(s.Reservations.Detach(t.Context(), detachments(done)))
	}
}

func TestAStatefulAddIsOneTransaction(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	s, transactions := l.counting("reserve")
	go func() { _ = s.Reservations.Follow(t.Context(), func(kv.Update[record.Reservation]) {}) }()
	go func() { _ = s.Blocks.Follow(t.Context(), func(kv.Update[record.Block]) {}) }()
	x, other := l.join(s, "n1"), l.join(l.store(), "n2")

	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	if transactions.Load() != 1 {
		t.Errorf("a new member took %d transactions", transactions.Load())
	}
	l.check(s.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(first)}))
	moved := l.reserve(other, asking(config, "default", identity("db", 0), "c2"))[0]
	l.check(other.store.Reservations.Detach(t.Context(), []reservation.Detachment{detachment(moved)}))
	l.until("the first node has heard of the move", func() bool {
		known := s.Reservations.Cache.Of(identity("db", 0))
		return len(known) == 1 && known[0].Epoch == 2 && known[0].Holder == nil
	})
	l.reserve(x, asking(config, "default", identity("db", 0), "c3"))
	if transactions.Load() != 2 {
		t.Errorf("and the known one %d", transactions.Load()-1)
	}
}

func TestWhatWasDoneOfASetIsReturnedBesideTheError(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	n1, n2 := l.join(s, "n1"), l.join(l.store(), "n2")
	l.reserve(n2, asking(config, "default", identity("db", 5), "elsewhere"))
	done, err := n1.Reserve(t.Context(), set(config, "default", "db", 10, "c"))
	if !isHeld(err) {
		t.Fatalf("the error is %v", err)
	}
	for _, r := range done {
		if r.Identity == identity("db", 5) {
			t.Errorf("done was %+v", r)
		}
	}
	l.agree(s, done...)
	l.check(s.Reservations.Detach(t.Context(), detachments(done)))
	all, err := s.Reservations.List(t.Context())
	l.check(err)
	for _, r := range all {
		if (r.Holder != nil) != (r.Identity == identity("db", 5)) {
			t.Errorf("after the undoing there is %+v", r)
		}
	}
}

func TestASetThatIsNoneIsRefused(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	twice := asking(config, "default", identity("db", 0), "c0")
	asked := [2]reservation.Request{asking(config, "default", identity("db", 1), "c1", addr("10.42.0.9")),
		asking(config, "default", identity("db", 2), "c2", addr("10.42.0.9"))}
	unnamed := asking(config, "default", allocator.Identity{Namespace: "ns", App: "db", Network: "net", Interface: "eth0"}, "c3")
	nowhere := asking(config, "default", identity("db", 3), "")
	stale := asking(config, "default", identity("db", 4), "c4")
	stale.PoolRevision--
	for want, requests := range map[string][]reservation.Request{
		"twice in the set":        {twice, twice},
		"asked for twice":         asked[:],
		"member is missing":       {unnamed},
		"container ID is missing": {nowhere},
		"the pool has changed":    {twice, stale},
	} {
		if done, err := x.Reserve(t.Context(), requests); err == nil || !contains(err, want) || len(done) > 0 {
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
	l := newLab(t)
	s := l.store()
	config := l.apply(s, both())
	n1, n2 := l.join(s, "n1"), l.join(l.store(), "n2")
	first := l.reserve(n1, asking(config, "both", identity("db", 0), "c1"))
	if !first[0].Address.Is4() || !first[1].Address.Is6() || first[0].Revision != first[1].Revision {
		t.Fatalf("reserved was %+v", first)
	}
	// One family's address is another's: neither is given.
	_, err := n2.Reserve(t.Context(), []reservation.Request{asking(config, "both", identity("db", 1), "c2", addr("10.2.0.33"),
		first[1].Address)})
	if other, ok := errors.AsType[*reservation.ReservedError](err); !ok || other.Reservation.Identity != identity("db", 0) {
		t.Errorf("the error is %v", err)
	}
	if r, err := s.Reservations.Of(t.Context(), "both", addr("10.2.0.33")); err != nil || r != nil {
		t.Errorf("half of a refused one is there: %+v, %v", r, err)
	}

	d := detachment(first[0])
	d.Addresses = append(d.Addresses, first[1].Address)
	l.check(n2.store.Reservations.Detach(t.Context(), []reservation.Detachment{d}))
	moved := l.reserve(n2, asking(config, "both", identity("db", 0), "c2"))
	for i := range moved {
		if moved[i].Address != first[i].Address || moved[i].Epoch != 2 {
			t.Errorf("moved was %+v", moved[i])
		}
	}
	l.check(n1.store.Reservations.Detach(t.Context(), []reservation.Detachment{d}))
	l.agree(s, moved...)
	// What is missing of one family is asserted again, with the epoch that the other one has.
	l.delete(s.KV.Keys.Reservation("both", moved[1].Address))
	again := l.reserve(l.join(l.store(), "n2"), asking(config, "both", identity("db", 0), "c2"))
	if again[0].Epoch != 3 || again[1].Epoch != 3 || again[1].Address != moved[1].Address {
		t.Errorf("asserted was %+v", again)
	}
	l.agree(s, again...)

	ended, err := s.Reservations.End(t.Context(), identity("db", 0), true)
	if all, _ := s.Reservations.List(t.Context()); err != nil || len(ended) != 2 || len(all) > 0 {
		t.Errorf("ended was %v, %v; left are %v", ended, err, all)
	}
}
