package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

func TestAClusterThatNobodyHasConfiguredHasTheDefaults(t *testing.T) {
	l := newLab(t)
	c, err := l.store().Config(t.Context())
	l.check(err)
	if c.Revision != 0 || c.Changes != 0 || len(c.Pools) != 0 || c.Settings.Session != DefaultSettings().Session {
		t.Errorf("the configuration is %+v", c)
	}
}

func TestEveryChangeIsOneRevisionAndOneEntryInTheHistory(t *testing.T) {
	l := newLab(t)
	s := l.store()
	first := l.apply(s, smallest())
	changed := smallest()
	changed.MTU = 1400
	second := l.apply(s, changed)
	if second.Revision <= first.Revision || second.Changes != 2 || second.PoolRevisions["default"] != second.Revision {
		t.Errorf("first %+v, second %+v", first, second)
	}
	read, err := s.Config(t.Context())
	l.check(err)
	if len(Diff(read, second)) > 0 || read.Revision != second.Revision || read.PoolRevisions["default"] != second.Revision {
		t.Errorf("apply says %+v, etcd has %+v", second, read)
	}

	history, err := s.History(t.Context())
	l.check(err)
	if len(history) != 2 {
		t.Fatalf("the history has %d entries", len(history))
	}
	e := history[1]
	if e.Number != 2 || e.Revision != second.Revision || e.Who != "tester" || e.Message != "test" || time.Since(e.When) > time.Hour {
		t.Errorf("the entry is %+v", e)
	}
	if len(e.Changes) != 1 || e.Changes[0] != (Change{"pool default", "mtu", "", "1400"}) {
		t.Errorf("the changes are %v", e.Changes)
	}
	if e.Before.Pools[0].MTU != 0 || e.After.Pools[0].MTU != 1400 || e.Before.Settings != nil {
		t.Errorf("before %+v, after %+v", e.Before, e.After)
	}
	if history[0].Before.Pools != nil || len(history[0].Changes) == 0 {
		t.Errorf("the first entry is %+v", history[0])
	}
}

func TestApplyingWhatIsThereWritesNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	after, err := s.Apply(t.Context(), base, base.Clone(), Note{})
	l.check(err)
	history, err := s.History(t.Context())
	l.check(err)
	if after.Revision != base.Revision || len(history) != 1 {
		t.Errorf("revision %d became %d, with %d entries", base.Revision, after.Revision, len(history))
	}
}

func TestOfTwoChangesAtOnceOneIsToldTheWinner(t *testing.T) {
	l := newLab(t)
	base := l.apply(l.store(), smallest())
	var wait sync.WaitGroup
	results := make(chan error, 2)
	for i := range 2 {
		s := l.store()
		next := base.Clone()
		pool := next.Pools["default"]
		pool.MTU = 1400 + i
		next.Pools["default"] = pool
		wait.Go(func() {
			_, err := s.Apply(t.Context(), base, next, Note{Who: fmt.Sprint("writer ", i)})
			results <- err
		})
	}
	wait.Wait()
	conflicts := 0
	for range 2 {
		err := <-results
		conflict, ok := errors.AsType[*ConflictError](err)
		if err != nil && !ok {
			t.Fatal(err)
		}
		if ok {
			conflicts++
			if w := conflict.Winner; w.Number != 2 || !strings.HasPrefix(w.Who, "writer ") || w.Revision <= base.Revision {
				t.Errorf("the winner is %+v", w)
			}
		}
	}
	if conflicts != 1 {
		t.Errorf("%d of two were refused", conflicts)
	}
	if history, _ := l.store().History(t.Context()); len(history) != 2 {
		t.Errorf("the history has %d entries", len(history))
	}
}

func TestAPoolsCIDRAndBlockSizeNeverChange(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	for want, change := range map[string]func(*allocator.Pool){
		"10.42.0.0/17": func(p *allocator.Pool) { p.CIDRs = []netip.Prefix{prefix("10.42.0.0/17")} },
		"blockSize":    func(p *allocator.Pool) { p.BlockSize.V4 = 27 },
		"mtu":          func(p *allocator.Pool) { p.MTU = 3 },
		"default":      func(p *allocator.Pool) { p.Name = "other" },
	} {
		next := base.Clone()
		pool := next.Pools["default"]
		change(&pool)
		next.Pools["default"] = pool
		if _, err := s.Apply(t.Context(), base, next, Note{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	next := base.Clone()
	delete(next.Pools, "default")
	if _, err := s.Apply(t.Context(), base, next, Note{}); err == nil {
		t.Error("a change has removed a pool")
	}
}

func TestTooManyPoolsAtOnceAreRefusedInWords(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s)
	next := base.Clone()
	for i := range maxOps {
		name := fmt.Sprint("p", i)
		next.Pools[name] = allocator.Pool{Name: name, CIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}}.WithDefaults()
	}
	if _, err := s.Apply(t.Context(), base, next, Note{}); err == nil || !strings.Contains(err.Error(), "apply fewer pools at once") {
		t.Errorf("the error is %v", err)
	}
	for i := maxOps - 2; i < maxOps; i++ {
		delete(next.Pools, fmt.Sprint("p", i))
	}
	if _, err := s.Apply(t.Context(), base, next, Note{}); err != nil {
		t.Error(err)
	}
}

func TestAStatefulRangeDoesNotGrowOverANodesBlock(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	block, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26"))
	l.check(err)

	grow := func() error {
		base, err := s.Config(t.Context())
		l.check(err)
		next := base.Clone()
		pool := next.Pools["default"]
		pool.Stateful = []netip.Prefix{prefix("10.42.0.0/20"), prefix("10.42.16.0/24")}
		next.Pools["default"] = pool
		_, err = s.Apply(t.Context(), base, next, Note{})
		return err
	}
	refusal, ok := errors.AsType[*GrowError](grow())
	if !ok || refusal.Node != "n1" || refusal.Block != block.Prefix || refusal.Pool != "default" {
		t.Fatalf("the refusal is %+v", refusal)
	}
	l.check(second(x.ReleaseBlock(t.Context(), block, block.Prefix)))
	l.check(grow())
	// A claim that was chosen before the range grew comes too late.
	if _, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err, ErrStaleConfig) {
		t.Errorf("the late claim: %v", err)
	}
}

// A range grows and nodes claim, all at once: never does a node own a block in a stateful range.
func TestAGrowingRangeAndAClaimNeverBothWin(t *testing.T) {
	l := newLab(t)
	for round := range 10 {
		name := fmt.Sprint("p", round)
		pool := allocator.Pool{Name: name, CIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 0}), 24)}}.WithDefaults()
		block := netip.PrefixFrom(pool.CIDRs[0].Addr(), 26)
		s := l.store()
		base := l.apply(s, pool)
		claimer := l.join(l.store(), "n1")
		var claim, grow error
		var wait sync.WaitGroup
		wait.Go(func() {
			_, claim = claimer.ClaimBlock(t.Context(), name, base.PoolRevisions[name], block)
		})
		wait.Go(func() {
			next := base.Clone()
			pool.Stateful = []netip.Prefix{block}
			next.Pools[name] = pool
			_, grow = s.Apply(t.Context(), base, next, Note{})
		})
		wait.Wait()
		_, refused := errors.AsType[*GrowError](grow)
		if claimed, grown := claim == nil, grow == nil; claimed == grown || !claimed && !errors.Is(claim, ErrStaleConfig) || !grown && !refused {
			t.Fatalf("claim: %v; growth: %v", claim, grow)
		}
	}
}

func TestOnlyAPoolThatNothingUsesCanBeRemoved(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest(), small())
	x := l.join(s, "n1")
	block, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26"))
	l.check(err)
	member := identity("db", 0)
	_, err = s.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], member, nil)
	l.check(err)

	_, err = s.RemovePool(t.Context(), base, "default", Note{})
	use, ok := errors.AsType[*InUseError](err)
	if !ok || use.Blocks != 1 || use.Reservations != 1 || !strings.Contains(err.Error(), "n1") || !strings.Contains(err.Error(), member.String()) {
		t.Fatalf("the error is %v", err)
	}
	l.check(second(x.ReleaseBlock(t.Context(), block, block.Prefix)))
	_, err = s.EndReservation(t.Context(), member, false)
	l.check(err)
	after, err := s.RemovePool(t.Context(), base, "default", Note{})
	l.check(err)
	read, err := s.Config(t.Context())
	l.check(err)
	if _, there := read.Pools["default"]; there || len(read.Pools) != 1 || len(Diff(after, read)) > 0 || read.Revision != after.Revision {
		t.Errorf("the configuration is %+v", read)
	}
	if blocks, err := s.Blocks(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("blocks are left: %v, %v", blocks, err)
	}
	// Whoever had chosen by the removed pool comes too late, also where the pool is made anew.
	l.apply(s, smallest())
	if _, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26")); !errors.Is(err, ErrStaleConfig) {
		t.Errorf("the late claim: %v", err)
	}
	if _, err := s.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], member, nil); !errors.Is(err, ErrStaleConfig) {
		t.Errorf("the late reservation: %v", err)
	}
	if _, err := s.RemovePool(t.Context(), read, "nothing", Note{}); err == nil {
		t.Error("a pool that is not there was removed")
	}
}

func TestAChangeWhoseAnswerWasLostIsNotMadeTwice(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	c := change{base: base, next: base.Clone(), note: Note{Who: "tester"}}
	c.next.Settings.Session = allocator.Duration(5 * time.Second)
	when := time.Now().UTC()
	first, _, err := s.commitChange(t.Context(), c, when)
	l.check(err)
	again, _, err := s.commitChange(t.Context(), c, when)
	l.check(err)
	if again.Revision != first.Revision || again.Changes != 2 || len(Diff(first, again)) > 0 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	_, _, err = s.commitChange(t.Context(), c, when.Add(1))
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Winner.Revision != first.Revision {
		t.Errorf("another one of the same words: %v", err)
	}
}

// What was looked at before a change is compared in it: what comes between makes it look again.
func TestNothingComesBetweenALookAndAChange(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest(), small())
	x := l.join(s, "n1")
	next := base.Clone()
	grown := next.Pools["default"]
	grown.Stateful = []netip.Prefix{prefix("10.42.0.0/20"), prefix("10.42.16.0/24")}
	next.Pools["default"] = grown
	growth, err := s.guardGrowth(t.Context(), base, next)
	l.check(err)
	unused, err := s.guardUnused(t.Context(), "small")
	l.check(err)

	_, err = x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26"))
	l.check(err)
	_, err = s.ReserveFor(t.Context(), base.Pools["small"], base.PoolRevisions["small"], identity("db", 0), nil)
	l.check(err)
	for what, guards := range map[string][]clientv3.Cmp{"growth": growth, "blocks": unused[:1], "reservations": unused[1:]} {
		_, moved, err := s.commitChange(t.Context(), change{base: base, next: next, compares: guards}, time.Now())
		if err != nil || !moved {
			t.Errorf("%s: it went through: %v", what, err)
		}
	}
}

func TestABaseThatNeverWasIsRefused(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	forged := base.Clone()
	forged.Changes += 7
	forged.Revision += 7
	next := forged.Clone()
	next.Settings.Session = allocator.Duration(5 * time.Second)
	if _, err := s.Apply(t.Context(), forged, next, Note{}); err == nil {
		t.Error("it was applied")
	}
}

func TestFollowersSeeEveryNewerConfiguration(t *testing.T) {
	l := newLab(t)
	s := l.store()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var revisions []int64
	ended := make(chan error, 1)
	go func() {
		ended <- s.FollowConfig(ctx, func(c *Config) {
			mu.Lock()
			defer mu.Unlock()
			revisions = append(revisions, c.Revision)
		})
	}()
	last := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if len(revisions) == 0 {
			return -1
		}
		return revisions[len(revisions)-1]
	}
	l.until("the present configuration", func() bool { return last() == 0 })
	after := l.apply(l.store(), smallest())
	l.until("the first pool", func() bool { return last() == after.Revision })
	after = l.apply(l.store(), small())
	l.until("the second pool", func() bool { return last() == after.Revision })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
