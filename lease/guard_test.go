package lease

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

func TestARangeGrowsBesideWhatNodesOwnAndTakesInWhatNobodyHas(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	l.claims(x, base, "10.42.64.0/26")
	_, err := l.ownAddress(x, base, "10.42.16.9", false) // in a block that is nobody's else
	l.check(err)
	grown := base.Pools["default"]
	grown.Stateful = []netip.Prefix{prefix("10.42.0.0/19")}
	after, err := s.Editor.Apply(t.Context(), base, with(base, grown), config.Note{})
	l.check(err)
	if l.machineOf(s, "10.42.16.9") != "n1" {
		t.Error("the node has lost its own address")
	}
	l.check(l.reserves(s, after, identity("db", 0), "10.42.16.10"))
	if b := l.claims(x, after, "10.42.64.64/26"); b.OwnerOf(addr("10.42.64.65")) != "n1" {
		t.Errorf("beside the range is %+v", b)
	}
}

func TestWhatARangeLosesIsFreedAndWhatItKeepsStaysKept(t *testing.T) {
	l := newLab(t)
	s := l.store()
	pool := smallest()
	pool.Stateful = []netip.Prefix{prefix("10.42.0.0/20"), prefix("10.42.32.0/20")}
	base := l.apply(s, pool)
	x := l.join(s, "n1")
	l.claims(x, base, "10.42.64.0/26")
	l.check(l.reserves(s, base, identity("db", 0), "10.42.0.5"))
	l.check(l.reserves(s, base, identity("db", 1), "10.42.32.5"))
	_, err := s.Reservations.End(t.Context(), identity("db", 1), false)
	l.check(err)
	shrunk := base.Pools["default"]
	shrunk.Stateful = shrunk.Stateful[:1]
	_, err = s.Editor.Apply(t.Context(), base, with(base, shrunk), config.Note{})
	l.check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.check(err)
	var left []string
	for _, b := range blocks {
		left = append(left, b.Prefix.String())
	}
	if slices.Sort(left); !slices.Equal(left, []string{"10.42.0.0/26", "10.42.64.0/26"}) {
		t.Errorf("the blocks are %v: want the one that is kept for reservations, and the node's", left)
	}
}

// A range that is there again by now is not freed by who had taken it away before.
func TestWhatARangeHasLostAndGotBackIsNotFreed(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	l.check(l.reserves(s, base, identity("db", 0), "10.42.0.5"))
	without := base.Pools["default"]
	without.Stateful = nil
	l.check(s.Editor.FreeShrunk(t.Context(), without, base.PoolRevisions["default"]-1))
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 {
		t.Errorf("the block of a reservation is freed: %v, %v", blocks, err)
	}
}

func TestOnlyWhoLosesByAnExclusionIsNamed(t *testing.T) {
	l := newLab(t)
	s := l.store()
	other := small()
	former := smallest()
	former.Exclude = []allocator.Range{{From: addr("10.42.0.7"), To: addr("10.42.0.7")}}
	base := l.apply(s, smallest(), other)
	l.check(l.reserves(s, base, identity("db", 0), "10.42.0.5"))
	l.check(l.reserves(s, base, identity("db", 1), "10.42.0.7"))
	l.check(l.reserves(s, base, identity("db", 2), "10.42.0.9"))
	base, err := s.Editor.Apply(t.Context(), base, with(base, former), config.Note{}) // .7 is excluded already
	l.check(err)
	next := base.Pools["default"]
	next.Exclude = []allocator.Range{{From: addr("10.42.0.5"), To: addr("10.42.0.7")}}
	fresh := smallest()
	fresh.Name, fresh.CIDRs, fresh.Stateful, fresh.Gateways = "fresh", []netip.Prefix{prefix("10.43.0.0/16")}, nil, nil
	fresh.Exclude = []allocator.Range{{From: addr("10.43.0.5"), To: addr("10.43.0.5")}}
	words, count, err := s.Editor.Excluded(t.Context(), base, with(base, next, fresh))
	l.check(err)
	if count != 1 || !strings.Contains(words[0], "10.42.0.5 stays reserved for ns/db") {
		t.Errorf("%d: %v", count, words)
	}
}
