package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// asking is a request by a configuration.
func asking(c *Config, pool string, id allocator.Identity, container string, asked ...netip.Addr) ReserveRequest {
	return ReserveRequest{Pool: c.Pools[pool], PoolRevision: c.PoolRevisions[pool], Identity: id, Attachment: attachment(container), Addresses: asked}
}

// reserve is a Reserve of one member that must succeed.
func (l *lab) reserve(x *Session, q ReserveRequest) []Reservation {
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
			if b.Pool == r.Pool && b.Prefix.Contains(r.Address) && b.stateful() {
				inside++
			}
		}
		if inside != 1 {
			l.Errorf("reservation %s lies in %d stateful blocks", r.Address, inside)
		}
		record, err := one(l.Context(), s, identityForm, s.keys.identity(r.Identity))
		l.check(err)
		if record == nil || record.Pool != r.Pool {
			l.Errorf("the record of %s is %+v", r.Identity, record)
		}
	}
	for _, r := range said {
		got, there := byAddress[addressAt{r.Pool, r.Address}]
		if !there || got.Identity != r.Identity || got.Epoch != r.Epoch || got.Revision != r.Revision || (got.Holder == nil) != (r.Holder == nil) {
			l.Errorf("said was %+v, etcd has %+v", r, got)
		}
	}
}

func TestAMemberKeepsItsAddressOnWhateverNode(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	n1, n2 := l.join(l.store(), "n1"), l.join(l.store(), "n2")
	id := identity("db", 0)
	first := l.reserve(n1, asking(config, "default", id, "c1"))[0]
	if p := smallest(); first.Epoch != 1 || !p.InStateful(first.Address) || first.Holder == nil || !first.Holder.is(attachment("c1"), "n1") {
		t.Fatalf("reserved was %+v", first)
	}
	l.agree(n1.store, first)

	_, err := n2.Reserve(t.Context(), []ReserveRequest{asking(config, "default", id, "c2")})
	if held, ok := errors.AsType[*HeldError](err); !ok || held.Reservation.Holder.Node != "n1" || held.Reservation.Holder.Attachment != attachment("c1") {
		t.Fatalf("while it runs elsewhere: %v", err)
	}
	l.check(n1.store.Detach(t.Context(), []Detachment{detachment(first)}))
	moved := l.reserve(n2, asking(config, "default", id, "c2"))[0]
	if moved.Address != first.Address || moved.Epoch != 2 || !moved.Holder.is(attachment("c2"), "n2") {
		t.Errorf("moved was %+v", moved)
	}
	// What the former node says late is about another epoch.
	l.check(n1.store.Detach(t.Context(), []Detachment{detachment(first)}))
	l.agree(n1.store, moved)
}

func detachment(r Reservation) Detachment {
	return Detachment{Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment, Epoch: r.Epoch}
}

func TestAReservationOfThisNodeMovesOnlyWhenItsFormerHolderIsNamed(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	first := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	next := asking(config, "default", identity("db", 0), "c2")
	if _, err := x.Reserve(t.Context(), []ReserveRequest{next}); !isHeld(err) {
		t.Fatalf("while the former runs: %v", err)
	}
	next.Release = &Holder{Attachment: attachment("c0"), Node: "n1"}
	if _, err := x.Reserve(t.Context(), []ReserveRequest{next}); !isHeld(err) {
		t.Fatalf("with another one named: %v", err)
	}
	next.Release = first.Holder
	if got := l.reserve(x, next)[0]; got.Address != first.Address || got.Epoch != 2 || !got.Holder.is(attachment("c2"), "n1") {
		t.Errorf("moved was %+v", got)
	}
}

func isHeld(err error) bool {
	_, ok := errors.AsType[*HeldError](err)
	return ok
}

// Whatever is still under way to detach the former attachment of the same name must not hit the new one.
func TestTheSameAttachmentAgainHasAnotherEpoch(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	x := l.join(l.store(), "n1")
	q := asking(config, "default", identity("db", 0), "c1")
	first, again := l.reserve(x, q)[0], l.reserve(x, q)[0]
	if again.Address != first.Address || again.Epoch <= first.Epoch {
		t.Errorf("first %+v, again %+v", first, again)
	}
	l.check(x.store.Detach(t.Context(), []Detachment{detachment(first)}))
	l.agree(x.store, again)
}

func TestAnAbsentNodesReservationIsTakenAtOnceInTheModeOfEvidence(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	gone, here := l.joinBriefly(l.store(), "gone"), l.join(l.store(), "here")
	first := l.reserve(gone, asking(config, "default", identity("db", 0), "c1"))[0]
	q := asking(config, "default", identity("db", 0), "c2")
	if _, err := here.Reserve(t.Context(), []ReserveRequest{q}); !isHeld(err) {
		t.Fatalf("while its session lives: %v", err)
	}
	l.absent(here.store, "gone")
	taken := l.reserve(here, q)[0]
	if taken.Address != first.Address || taken.Epoch != 2 || !taken.Holder.is(attachment("c2"), "here") {
		t.Errorf("taken was %+v", taken)
	}
	l.agree(here.store, taken)
}

func TestANodeOfAnotherModeIsNotTakenFromAtOnce(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	gone, here := l.joinBriefly(l.store(), "gone"), l.join(l.store(), "here")
	l.reserve(gone, asking(config, "default", identity("db", 0), "c1"))
	strict := node("gone")
	strict.Fencing = "strict"
	_, err := l.raw().Put(t.Context(), s.keys.node("gone"), encode(strict))
	l.check(err)
	l.absent(s, "gone")
	if _, err := here.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c2")}); !isHeld(err) {
		t.Errorf("the error is %v", err)
	}
}

// Two nodes, many goroutines each, 500 members: no address twice, none left out.
func TestNoAddressIsReservedTwice(t *testing.T) {
	l := newLab(t)
	pool := smallest()
	pool.Stateful = []netip.Prefix{prefix("10.42.0.0/23")}
	config := l.apply(l.store(), pool)
	const members, workers = 500, 8
	nodes := []*Session{l.join(l.store(), "n1"), l.join(l.store(), "n2")}
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
				id := identity("db", i)
				done, err := nodes[w%2].Reserve(t.Context(), []ReserveRequest{asking(config, "default", id, fmt.Sprint("c", i))})
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
	l.agree(l.store())
}

func TestOneMemberOnTwoNodesAtOnceRunsOnOne(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	nodes := []*Session{l.join(l.store(), "n1"), l.join(l.store(), "n2")}
	for i := range 30 {
		var got [2][]Reservation
		var errs [2]error
		var wait sync.WaitGroup
		for n, x := range nodes {
			wait.Go(func() {
				got[n], errs[n] = x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", i), fmt.Sprint("c", n))})
			})
		}
		wait.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !isHeld(errs[1-winner]) {
			t.Fatalf("member %d: %v; %v", i, errs[0], errs[1])
		}
		l.agree(l.store(), got[winner]...)
	}
}

func TestAFullPoolSaysHowManyAddressesItHas(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, small())
	x := l.join(s, "n1")
	// 10.1.0.8 to 15, less the broadcast address and an excluded one.
	for i := range 6 {
		l.reserve(x, asking(config, "small", identity("db", i), fmt.Sprint("c", i)))
	}
	_, err := x.Reserve(t.Context(), []ReserveRequest{asking(config, "small", identity("db", 6), "c6")})
	if full, ok := errors.AsType[*ExhaustedError](err); !ok || full.Pool != "small" || full.Addresses != 6 {
		t.Fatalf("the error is %v", err)
	}
	// A released one is found, though the caller's view says that all are taken.
	ended, err := s.EndReservation(t.Context(), identity("db", 3), true)
	l.check(err)
	q := asking(config, "small", identity("db", 6), "c6")
	q.Taken = func(netip.Addr) bool { return true }
	if got := l.reserve(x, q); got[0].Address != ended[0].Address {
		t.Errorf("reserved was %s, free was %s", got[0].Address, ended[0].Address)
	}
	l.agree(s)
}

func TestTheCallersViewGuidesTheChoice(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), small())
	var conflicts atomic.Int64
	s := l.store(func(o *Options) {
		o.Observe = func(operation string, _ time.Duration, conflict bool, _ error) {
			if conflict {
				conflicts.Add(1)
			}
		}
	})
	x := l.join(s, "n1")
	taken := map[netip.Addr]bool{}
	for i := range 6 {
		q := asking(config, "small", identity("db", i), fmt.Sprint("c", i))
		q.Taken = func(a netip.Addr) bool { return taken[a] }
		taken[l.reserve(x, q)[0].Address] = true
	}
	if conflicts.Load() > 0 {
		t.Errorf("%d transactions had a conflict", conflicts.Load())
	}
}

func TestAnAddressThatIsAskedForIsGivenOrRefused(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	asked := addr("10.42.3.7")
	if got := l.reserve(x, asking(config, "default", identity("db", 0), "c0", asked)); got[0].Address != asked {
		t.Fatalf("reserved was %s", got[0].Address)
	}
	if got := l.reserve(x, asking(config, "default", identity("db", 0), "c0", asked)); got[0].Address != asked {
		t.Fatalf("asked again: %s", got[0].Address)
	}
	_, err := x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 1), "c1", asked)})
	if other, ok := errors.AsType[*ReservedError](err); !ok || other.Reservation.Identity != identity("db", 0) {
		t.Errorf("another's address: %v", err)
	}
	_, err = x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c0", addr("10.42.3.8"))})
	if err == nil || !contains(err, "10.42.3.7") {
		t.Errorf("another one than it has: %v", err)
	}
	for _, a := range []string{"10.42.0.1", "10.42.16.9", "10.9.9.9", "fd00::1"} {
		if _, err := x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 2), "c2", addr(a))}); err == nil {
			t.Errorf("%s was given", a)
		}
	}
	if got, err := s.Reservations(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("left behind: %v, %v", got, err)
	}
}

func TestAMemberIsInOnePool(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest(), small())
	x := l.join(s, "n1")
	l.reserve(x, asking(config, "default", identity("db", 0), "c0"))
	for _, store := range []*Store{s, l.store()} { // with a hint, and without
		_, err := l.join(store, "n2").Reserve(t.Context(), []ReserveRequest{asking(config, "small", identity("db", 0), "c1")})
		if err == nil || !contains(err, `in pool "default"`) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestAPoolWithoutAStatefulRangeHasNoReservations(t *testing.T) {
	l := newLab(t)
	s := l.store()
	pool := smallest()
	pool.Stateful = nil
	config := l.apply(s, pool)
	_, err := l.join(s, "n1").Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c0")})
	if err == nil || !contains(err, "no stateful v4 range") {
		t.Errorf("the error is %v", err)
	}
}

func TestABlockOfANodeIsNoPlaceForReservations(t *testing.T) {
	l := newLab(t)
	s := l.store()
	pool := smallest()
	pool.Stateful = []netip.Prefix{prefix("10.42.0.0/25")}
	config := l.apply(s, pool)
	x := l.join(s, "n1")
	owned := Block{Prefix: prefix("10.42.0.64/26"), Parts: []Part{{Prefix: prefix("10.42.0.64/26"), Owner: "n9"}}}
	_, err := l.raw().Put(t.Context(), s.keys.block("default", owned.Prefix), encode(owned))
	l.check(err)
	for i := range 62 {
		if got := l.reserve(x, asking(config, "default", identity("db", i), fmt.Sprint("c", i))); owned.Prefix.Contains(got[0].Address) {
			t.Fatalf("%s is in a node's block", got[0].Address)
		}
	}
	l.agree(s)
}

func TestReservingBeforeAMemberRuns(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	pool, revision, id := config.Pools["default"], config.PoolRevisions["default"], identity("db", 0)
	first, err := s.ReserveFor(t.Context(), pool, revision, id, []netip.Addr{addr("10.42.0.17")})
	l.check(err)
	again, err := s.ReserveFor(t.Context(), pool, revision, id, nil)
	l.check(err)
	if first[0].Address != addr("10.42.0.17") || first[0].Holder != nil || first[0].Epoch != 0 || again[0] != first[0] {
		t.Errorf("first %+v, again %+v", first, again)
	}
	x := l.join(s, "n1")
	got := l.reserve(x, asking(config, "default", id, "c1"))
	if got[0].Address != first[0].Address || got[0].Epoch != 1 {
		t.Errorf("reserved was %+v", got)
	}
	if kept, err := s.ReserveFor(t.Context(), pool, revision, id, nil); err != nil || kept[0].Holder == nil || kept[0].Revision != got[0].Revision {
		t.Errorf("reserving what runs has changed it: %+v, %v", kept, err)
	}

	if _, err := s.EndReservation(t.Context(), id, false); !isHeld(err) {
		t.Errorf("ending what runs: %v", err)
	}
	ended, err := s.EndReservation(t.Context(), id, true)
	l.check(err)
	if len(ended) != 1 || ended[0].Address != first[0].Address {
		t.Errorf("ended was %+v", ended)
	}
	if _, err := s.EndReservation(t.Context(), id, true); !errors.Is(err, ErrNotReserved) {
		t.Errorf("ending it again: %v", err)
	}
	if left, err := s.Reservations(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestARecordThatIsMissingIsAssertedAgain(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	q := asking(config, "default", identity("db", 0), "c1")
	first := l.reserve(x, q)[0]
	for _, key := range []string{s.keys.reservation("default", first.Address), s.keys.identity(q.Identity)} {
		_, err := l.raw().Delete(t.Context(), key)
		l.check(err)
		for _, store := range []*Store{s, l.store()} { // with a hint, and without
			if got := l.reserve(l.join(store, "n1"), q)[0]; got.Address != first.Address {
				t.Errorf("without %s the address is %s, and was %s", key, got.Address, first.Address)
			}
		}
		l.agree(s)
	}
}
