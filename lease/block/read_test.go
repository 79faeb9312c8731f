package block_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestBlocksAreFollowedByWhoeverLearnsFirst(t *testing.T) {
	l, _, _, b := given(t)
	pair := l.Store().KV
	heard := make(chan string, 10)
	for name, learn := range map[string]func(kv.Update[record.Block]){
		"nobody": nil, "learn": func(kv.Update[record.Block]) { heard <- "learned" },
	} {
		ctx, stop := context.WithCancel(t.Context())
		err := block.New(pair, learn).Follow(ctx, func(u kv.Update[record.Block]) {
			if len(u.Set) != 1 || u.Set[0].Revision != b.Revision {
				t.Errorf("followed is %+v", u)
			}
			heard <- "followed"
			stop()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		want := []string{"followed"}
		if name == "learn" {
			want = []string{"learned", "followed"}
		}
		for _, w := range want {
			if got := <-heard; got != w {
				t.Errorf("%s: heard was %q, want %q", name, got, w)
			}
		}
	}
}

func TestADamagedBlockIsKnownByWhatItWasBefore(t *testing.T) {
	l, _, _, b := given(t)
	s := l.Store()
	before := func() (record.Block, error) { return s.Blocks.Before(t.Context(), "default", b.Prefix) }
	same := func(what string) {
		t.Helper()
		if got, err := before(); err != nil || !slices.Equal(got.Parts, b.Parts) || got.Prefix != b.Prefix || got.Pool != "default" {
			t.Errorf("%s it is %+v, %v", what, got, err)
		}
	}
	same("undamaged")
	key := s.KV.Keys.Block("default", b.Prefix)
	l.Put(key, "{")
	same("damaged")
	l.Put(key, `{"prefix":"10.42.16.0/27","parts":[]}`) // it can be read, and is no block of the pool
	if got, err := before(); kv.Damage(err) == nil {
		t.Errorf("of another size it is %+v, %v", got, err)
	}
	l.Delete(key)
	if got, err := before(); err != nil || len(got.Parts) > 0 || got.Prefix != b.Prefix || got.Pool != "default" {
		t.Errorf("gone it is %+v, %v", got, err)
	}
	l.Put(key, "{")
	if got, err := before(); kv.Damage(err) == nil {
		t.Errorf("damaged from the beginning it is %+v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Blocks.Before(ended, "default", b.Prefix); err == nil {
		t.Errorf("without an answer of etcd it is %+v", got)
	}
}

func TestBlocksAndAssignmentsAreListedInTheOrderOfAddresses(t *testing.T) {
	l, revision, n, b := given(t)
	s := l.Store()
	first, err := block.Claim(t.Context(), n[0].Session, "default", revision, lab.Prefix("10.42.112.0/26"))
	l.Check(err)
	set := append(lab.Assignments(lab.Addr("10.42.112.9"), 2), lab.Assignments(lab.Addr("10.42.16.9"), 2)...)
	l.Check(rollout.Publish(t.Context(), n[0].Session, rollout.Batch{Blocks: []record.Block{first, b}, Set: set}))
	blocks, err := s.Blocks.List(t.Context())
	l.Check(err)
	if len(blocks) != 2 || blocks[0].Prefix != b.Prefix || blocks[1].Prefix != first.Prefix {
		t.Errorf("the blocks are %+v", blocks)
	}
	all, err := s.Blocks.Assignments(t.Context())
	l.Check(err)
	if len(all) != 4 || !slices.IsSortedFunc(all, func(a, b record.Assignment) int { return a.Address.Compare(b.Address) }) {
		t.Errorf("the assignments are %+v", all)
	}
	a, err := s.Blocks.Assignment(t.Context(), "default", lab.Addr("10.42.16.10"))
	if err != nil || a == nil || a.Attachment != set[3].Attachment {
		t.Errorf("the assignment of an address is %+v, %v", a, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Blocks.List(ended); err == nil {
		t.Error("blocks are listed without an answer of etcd")
	}
	if _, err := s.Blocks.Assignments(ended); err == nil {
		t.Error("assignments are listed without an answer of etcd")
	}
}
