package config_test

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
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAStatefulRangeDoesNotGrowOverANodesBlock(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
	l.Check(err)

	grow := func() error {
		base, err := s.Config.Read(t.Context())
		l.Check(err)
		next := base.Clone()
		pool := next.Pools["default"]
		pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/20"), lab.Prefix("10.42.16.0/24")}
		next.Pools["default"] = pool
		_, err = s.Editor.Apply(t.Context(), base, next, config.Note{})
		return err
	}
	refusal, ok := errors.AsType[*config.GrowError](grow())
	if !ok || refusal.Node != "n1" || refusal.Block != b.Prefix || refusal.Pool != "default" {
		t.Fatalf("the refusal is %+v", refusal)
	}
	l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
	l.Check(grow())
	// A claim that was chosen before the range grew comes too late.
	if _, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.42.16.64/26")); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the late claim: %v", err)
	}
}

// A range grows and nodes claim, all at once: never does a node own a block in a stateful range.
func TestAGrowingRangeAndAClaimNeverBothWin(t *testing.T) {
	l := lab.New(t)
	for round := range 10 {
		name := fmt.Sprint("p", round)
		pool := allocator.Pool{Name: name,
			CIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 0}), 24)}}.WithDefaults()
		first := netip.PrefixFrom(pool.CIDRs[0].Addr(), 26)
		s := l.Store()
		base := l.Apply(s, pool)
		claimer := l.Join(l.Store(), "n1")
		var claim, grow error
		var wait sync.WaitGroup
		wait.Go(func() {
			_, claim = block.Claim(t.Context(), claimer.Session, name, base.PoolRevisions[name], first)
		})
		wait.Go(func() {
			next := base.Clone()
			pool.Stateful = []netip.Prefix{first}
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
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest(), lab.Small())
	x := l.Join(s, "n1")
	b, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	member := lab.Identity("db", 0)
	_, err = s.Reservations.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], member, nil)
	l.Check(err)

	_, err = s.Editor.RemovePool(t.Context(), base, "default", config.Note{})
	use, ok := errors.AsType[*config.InUseError](err)
	if !ok || use.Blocks != 1 || use.Reservations != 1 || !strings.Contains(err.Error(), "n1") ||
		!strings.Contains(err.Error(), member.String()) {
		t.Fatalf("the error is %v", err)
	}
	l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
	_, err = s.Reservations.End(t.Context(), member, false)
	l.Check(err)
	after, err := s.Editor.RemovePool(t.Context(), base, "default", config.Note{})
	l.Check(err)
	read, err := s.Config.Read(t.Context())
	l.Check(err)
	if _, there := read.Pools["default"]; there || len(read.Pools) != 1 || len(config.Diff(after,
		read)) > 0 || read.Revision != after.Revision {
		t.Errorf("the configuration is %+v", read)
	}
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("blocks are left: %v, %v", blocks, err)
	}
	// Whoever had chosen by the removed pool comes too late, also where the pool is made anew.
	l.Apply(s, lab.Smallest())
	if _, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.42.16.0/26")); !errors.Is(err,
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
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest(), lab.Small())
	x := l.Join(s, "n1")
	next := base.Clone()
	grown := next.Pools["default"]
	grown.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/20"), lab.Prefix("10.42.16.0/24")}
	next.Pools["default"] = grown
	growth, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
	l.Check(err)
	less := base.Clone()
	shrunk := less.Pools["small"]
	shrunk.Stateful = nil
	less.Pools["small"] = shrunk
	shrinking, err := s.Editor.Guard(t.Context(), base, less, []string{"small"})
	l.Check(err)
	unused, err := s.Editor.GuardUnused(t.Context(), "small")
	l.Check(err)

	_, err = block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	_, err = s.Reservations.ReserveFor(t.Context(), base.Pools["small"], base.PoolRevisions["small"], lab.Identity("db", 0), nil)
	l.Check(err)
	for what, guards := range map[string][]clientv3.Cmp{
		"growth": growth.Compares(), "shrinking": shrinking.Compares(), "blocks": unused.Compares()[:1], "reservations": unused.Compares()[1:],
	} {
		c := config.ChangeOf(base, next, config.Note{}, config.GuardOf(guards), "default")
		_, moved, err := s.Editor.CommitOnce(t.Context(), c, time.Now())
		if err != nil || !moved {
			t.Errorf("%s: it went through: %v", what, err)
		}
	}
}
