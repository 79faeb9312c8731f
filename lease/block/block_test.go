package block_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestOfTwoNodesThatClaimABlockOneGetsItAndTheOtherLearnsWho(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	for i := range 20 {
		wanted := lab.Prefix("10.42.16.0/26")
		if i%2 == 1 {
			wanted = lab.Prefix("10.42.17.64/26")
		}
		nodes := [2]*lab.Joined{l.Join(l.Store(), "n1"), l.Join(l.Store(), "n2")}
		var got [2]record.Block
		var errs [2]error
		var wait sync.WaitGroup
		for n, x := range nodes {
			wait.Go(func() {
				got[n], errs[n] = block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], wanted)
			})
		}
		wait.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], block.ErrTaken) {
			t.Fatalf("the claims: %v; %v", errs[0], errs[1])
		}
		name := nodes[winner].Node().Name
		for n := range got {
			if b := got[n]; b.Pool != "default" || b.Prefix != wanted || len(b.Parts) != 1 || b.Parts[0].Owner != name ||
				b.Revision != got[winner].Revision {
				t.Fatalf("%s has won, and node %d got %+v", name, n, b)
			}
		}
		l.Check(lab.Second(block.Release(t.Context(), nodes[winner].Session, got[winner], got[winner].Prefix)))
	}
}

func TestClaimingOnesOwnBlockAgainSettlesWhoOwnsIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	first, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	again, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	// A release that was on its way comes too late.
	if lost, ok := errors.AsType[*block.LostError](lab.Second(block.Release(t.Context(), x.Session, first, first.Prefix))); !ok ||
		lost.Block.Revision != again.Revision {
		t.Errorf("the late release: %+v", lost)
	}
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 || blocks[0].Revision != again.Revision {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
	l.Check(lab.Second(block.Release(t.Context(), x.Session, again, again.Prefix)))
	l.Check(lab.Second(block.Release(t.Context(), x.Session, again, again.Prefix)))
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 0 {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
}

func TestAReleaseGivesUpOnesOwnPartsAlone(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	split := record.Block{Prefix: lab.Prefix("10.42.16.0/26"),
		Parts: []record.Part{{Prefix: lab.Prefix("10.42.16.0/27"), Owner: "n1"}, {Prefix: lab.Prefix("10.42.16.32/27"), Owner: "n2"}}}
	l.Put(s.KV.Keys.Block("default", split.Prefix), kv.Encode(split))
	blocks, err := s.Blocks.List(t.Context())
	l.Check(err)
	l.Check(lab.Second(block.Release(t.Context(), x.Session, blocks[0], blocks[0].Prefix)))
	blocks, err = s.Blocks.List(t.Context())
	l.Check(err)
	if len(blocks) != 1 || len(blocks[0].Parts) != 1 || blocks[0].Parts[0].Owner != "n2" {
		t.Errorf("the blocks are %+v", blocks)
	}
}

func TestAClaimByAConfigurationThatIsNotThePresentOneFails(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	old := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	changed := lab.Smallest()
	changed.MTU = 1400
	present := l.Apply(s, changed).PoolRevisions["default"]
	x := l.Join(s, "n1")
	for _, revision := range []int64{-1, 0, old} {
		_, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26"))
		if !errors.Is(err, record.ErrStaleConfig) {
			t.Errorf("by revision %d: %v", revision, err)
		}
	}
	if _, err := block.Claim(t.Context(), x.Session, "nothing", present, lab.Prefix("10.42.16.0/26")); !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("of a pool that is not there: %v", err)
	}
	_, err := block.Claim(t.Context(), x.Session, "default", present, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
}

func TestARecordThatCannotBeReadIsNamedByWhoNeedsItAndPassedOverByOthers(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	key := s.KV.Keys.Block("default", lab.Prefix("10.42.16.0/26"))
	l.Put(key, "rubbish")
	if _, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26")); err == nil || !lab.Contains(err, key) {
		t.Errorf("claim: %v", err)
	}
	other := l.Claims(x, &config.Config{PoolRevisions: map[string]int64{"default": revision}}, "10.42.17.0/26")
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 || blocks[0].Prefix != other.Prefix {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
}
