package lease

import (
	"errors"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func TestOfTwoNodesThatClaimABlockOneGetsItAndTheOtherLearnsWho(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	for i := range 20 {
		wanted := prefix("10.42.16.0/26")
		if i%2 == 1 {
			wanted = prefix("10.42.17.64/26")
		}
		nodes := [2]*joined{l.join(l.store(), "n1"), l.join(l.store(), "n2")}
		var got [2]record.Block
		var errs [2]error
		var wait sync.WaitGroup
		for n, x := range nodes {
			wait.Go(func() {
				got[n], errs[n] = x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], wanted)
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
		l.check(second(nodes[winner].ReleaseBlock(t.Context(), got[winner], got[winner].Prefix)))
	}
}

func TestClaimingOnesOwnBlockAgainSettlesWhoOwnsIt(t *testing.T) {
	l := newLab(t)
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	first, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26"))
	l.check(err)
	again, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26"))
	l.check(err)
	// A release that was on its way comes too late.
	if lost, ok := errors.AsType[*block.LostError](second(x.ReleaseBlock(t.Context(), first, first.Prefix))); !ok ||
		lost.Block.Revision != again.Revision {
		t.Errorf("the late release: %+v", lost)
	}
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 || blocks[0].Revision != again.Revision {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
	l.check(second(x.ReleaseBlock(t.Context(), again, again.Prefix)))
	l.check(second(x.ReleaseBlock(t.Context(), again, again.Prefix)))
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 0 {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
}

func TestAReleaseGivesUpOnesOwnPartsAlone(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.apply(s, smallest())
	x := l.join(s, "n1")
	split := record.Block{Prefix: prefix("10.42.16.0/26"),
		Parts: []record.Part{{Prefix: prefix("10.42.16.0/27"), Owner: "n1"}, {Prefix: prefix("10.42.16.32/27"), Owner: "n2"}}}
	l.put(s.KV.Keys.Block("default", split.Prefix), kv.Encode(split))
	blocks, err := s.Blocks.List(t.Context())
	l.check(err)
	l.check(second(x.ReleaseBlock(t.Context(), blocks[0], blocks[0].Prefix)))
	blocks, err = s.Blocks.List(t.Context())
	l.check(err)
	if len(blocks) != 1 || len(blocks[0].Parts) != 1 || blocks[0].Parts[0].Owner != "n2" {
		t.Errorf("the blocks are %+v", blocks)
	}
}

func TestAClaimByAConfigurationThatIsNotThePresentOneFails(t *testing.T) {
	l := newLab(t)
	s := l.store()
	old := l.apply(s, smallest()).PoolRevisions["default"]
	changed := smallest()
	changed.MTU = 1400
	present := l.apply(s, changed).PoolRevisions["default"]
	x := l.join(s, "n1")
	for _, revision := range []int64{-1, 0, old} {
		if _, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26")); !errors.Is(err, record.ErrStaleConfig) {
			t.Errorf("by revision %d: %v", revision, err)
		}
	}
	if _, err := x.ClaimBlock(t.Context(), "nothing", present, prefix("10.42.16.0/26")); !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("of a pool that is not there: %v", err)
	}
	_, err := x.ClaimBlock(t.Context(), "default", present, prefix("10.42.16.0/26"))
	l.check(err)
}

func TestARecordThatCannotBeReadIsNamedByWhoNeedsItAndPassedOverByOthers(t *testing.T) {
	l := newLab(t)
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	key := s.KV.Keys.Block("default", prefix("10.42.16.0/26"))
	l.put(key, "rubbish")
	if _, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26")); err == nil || !contains(err, key) {
		t.Errorf("claim: %v", err)
	}
	other := l.claims(x, &config.Config{PoolRevisions: map[string]int64{"default": revision}}, "10.42.17.0/26")
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 || blocks[0].Prefix != other.Prefix {
		t.Errorf("the blocks are %+v, %v", blocks, err)
	}
}
