package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAStatefulRangeDoesNotGrowOverANodesBlock(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	block, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26"))
	l.check(err)

	grow := func() error {
		base, err := s.Config.Read(t.Context())
		l.check(err)
		next := base.Clone()
		pool := next.Pools["default"]
		pool.Stateful = []netip.Prefix{prefix("10.42.0.0/20"), prefix("10.42.16.0/24")}
		next.Pools["default"] = pool
		_, err = s.Editor.Apply(t.Context(), base, next, config.Note{})
		return err
	}
	refusal, ok := errors.AsType[*config.GrowError](grow())
	if !ok || refusal.Node != "n1" || refusal.Block != block.Prefix || refusal.Pool != "default" {
		t.Fatalf("the refusal is %+v", refusal)
	}
	l.check(second(x.ReleaseBlock(t.Context(), block, block.Prefix)))
	l.check(grow())
	// A claim that was chosen before the range grew comes too late.
	if _, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the late claim: %v", err)
	}
}

// A range grows and nodes claim, all at once: never does a node own a block in a stateful range.
func TestAGrowingRangeAndAClaimNeverBothWin(t *testing.T) {
	l := newLab(t)
	for round := range 10 {
		name := fmt.Sprint("p", round)
		pool := allocator.Pool{Name: name,
			CIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 0}), 24)}}.WithDefaults()
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
			_, grow = s.Editor.Apply(t.Context(), base, next, config.Note{})
		})
		wait.Wait()
		_, refused := errors.AsType[*config.GrowError](grow)
		if claimed, grown := claim == nil, grow == nil; claimed == grown || !claimed && !errors.Is(claim,
			record.ErrStaleConfig) || !grown && !refused {
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
	_, err = s.Reservations.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], member, nil)
	l.check(err)

	_, err = s.Editor.RemovePool(t.Context(), base, "default", config.Note{})
	use, ok := errors.AsType[*config.InUseError](err)
	if !ok || use.Blocks != 1 || use.Reservations != 1 || !strings.Contains(err.Error(), "n1") ||
		!strings.Contains(err.Error(), member.String()) {
		t.Fatalf("the error is %v", err)
	}
	l.check(second(x.ReleaseBlock(t.Context(), block, block.Prefix)))
	_, err = s.Reservations.End(t.Context(), member, false)
	l.check(err)
	after, err := s.Editor.RemovePool(t.Context(), base, "default", config.Note{})
	l.check(err)
	read, err := s.Config.Read(t.Context())
	l.check(err)
	if _, there := read.Pools["default"]; there || len(read.Pools) != 1 || len(config.Diff(after,
		read)) > 0 || read.Revision != after.Revision {
		t.Errorf("the configuration is %+v", read)
	}
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("blocks are left: %v, %v", blocks, err)
	}
	// Whoever had chosen by the removed pool comes too late, also where the pool is made anew.
	l.apply(s, smallest())
	if _, err := x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26")); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the late claim: %v", err)
	}
	if _, err := s.Reservations.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], member, nil); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the late reservation: %v", err)
	}
	if _, err := s.Editor.RemovePool(t.Context(), read, "nothing", config.Note{}); err == nil {
		t.Error("a pool that is not there was removed")
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
	growth, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
	l.check(err)
	less := base.Clone()
	shrunk := less.Pools["small"]
	shrunk.Stateful = nil
	less.Pools["small"] = shrunk
	shrinking, err := s.Editor.Guard(t.Context(), base, less, []string{"small"})
	l.check(err)
	unused, err := s.Editor.GuardUnused(t.Context(), "small")
	l.check(err)

	_, err = x.ClaimBlock(t.Context(), "default", base.PoolRevisions["default"], prefix("10.42.16.0/26"))
	l.check(err)
	_, err = s.Reservations.ReserveFor(t.Context(), base.Pools["small"], base.PoolRevisions["small"], identity("db", 0), nil)
	l.check(err)
	for what, guards := range map[string][]clientv3.Cmp{
		"growth": growth.Compares, "shrinking": shrinking.Compares, "blocks": unused.Compares[:1], "reservations": unused.Compares[1:],
	} {
		_, moved, err := s.Editor.CommitChange(t.Context(), config.Change{Base: base, Next: next, Pools: []string{"default"},
			Guard: config.Guard{Compares: guards}},
			time.Now())
		if err != nil || !moved {
			t.Errorf("%s: it went through: %v", what, err)
		}
	}
}
