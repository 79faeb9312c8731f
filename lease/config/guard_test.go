package config_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestARangeGrowsBesideWhatNodesOwnAndTakesInWhatNobodyHas(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	l.Claims(x, base, "10.42.64.0/26")
	_, err := l.OwnAddress(x, base, "10.42.16.9", false) // in a block that is nobody's else
	l.Check(err)
	grown := base.Pools["default"]
	grown.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/19")}
	after, err := s.Editor.Apply(t.Context(), base, lab.With(base, grown), config.Note{})
	l.Check(err)
	if l.MachineOf(s, "10.42.16.9") != "n1" {
		t.Error("the node has lost its own address")
	}
	l.Check(l.Reserves(s, after, lab.Identity("db", 0), "10.42.16.10"))
	if b := l.Claims(x, after, "10.42.64.64/26"); b.OwnerOf(lab.Addr("10.42.64.65")) != "n1" {
		t.Errorf("beside the range is %+v", b)
	}
}

func TestWhatARangeLosesIsFreedAndWhatItKeepsStaysKept(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := lab.Smallest()
	pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/20"), lab.Prefix("10.42.32.0/20")}
	base := l.Apply(s, pool)
	x := l.Join(s, "n1")
	l.Claims(x, base, "10.42.64.0/26")
	l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
	l.Check(l.Reserves(s, base, lab.Identity("db", 1), "10.42.32.5"))
	_, err := s.Reservations.End(t.Context(), lab.Identity("db", 1), false)
	l.Check(err)
	shrunk := base.Pools["default"]
	shrunk.Stateful = shrunk.Stateful[:1]
	_, err = s.Editor.Apply(t.Context(), base, lab.With(base, shrunk), config.Note{})
	l.Check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.Check(err)
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
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
	without := base.Pools["default"]
	without.Stateful = nil
	l.Check(s.Editor.FreeShrunk(t.Context(), without, base.PoolRevisions["default"]-1))
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 {
		t.Errorf("the block of a reservation is freed: %v, %v", blocks, err)
	}
}

func TestOnlyWhoLosesByAnExclusionIsNamed(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	other := lab.Small()
	former := lab.Smallest()
	former.Exclude = []allocator.Range{{From: lab.Addr("10.42.0.7"), To: lab.Addr("10.42.0.7")}}
	base := l.Apply(s, lab.Smallest(), other)
	l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
	l.Check(l.Reserves(s, base, lab.Identity("db", 1), "10.42.0.7"))
	l.Check(l.Reserves(s, base, lab.Identity("db", 2), "10.42.0.9"))
	base, err := s.Editor.Apply(t.Context(), base, lab.With(base, former), config.Note{}) // .7 is excluded already
	l.Check(err)
	next := base.Pools["default"]
	next.Exclude = []allocator.Range{{From: lab.Addr("10.42.0.5"), To: lab.Addr("10.42.0.7")}}
	fresh := lab.Smallest()
	fresh.Name, fresh.CIDRs, fresh.Stateful, fresh.Gateways = "fresh", []netip.Prefix{lab.Prefix("10.43.0.0/16")}, nil, nil
	fresh.Exclude = []allocator.Range{{From: lab.Addr("10.43.0.5"), To: lab.Addr("10.43.0.5")}}
	words, count, err := s.Editor.Excluded(t.Context(), base, lab.With(base, next, fresh))
	l.Check(err)
	if count != 1 || !strings.Contains(words[0], "10.42.0.5 stays reserved for ns/db") {
		t.Errorf("%d: %v", count, words)
	}
}
