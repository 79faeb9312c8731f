package block_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestWhatAnAbsentNodeHasIsTakenOverAndMarked(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(config, "n2", "10.42.16.0/26")
	taker := l.Join(l.Store(), "n1")
	got, err := block.TakeOver(t.Context(), taker.Session, b, config.PoolRevisions["default"], gone)
	l.Check(err)
	if !lab.OwnedBy(got, "n1") || !got.Parts[0].Taken || got.Revision <= b.Revision {
		t.Errorf("taken was %+v", got)
	}
	blocks, err := l.Store().Blocks.List(t.Context())
	l.Check(err)
	if len(blocks) != 1 || !lab.OwnedBy(blocks[0], "n1") || !blocks[0].Parts[0].Taken {
		t.Errorf("etcd has %+v", blocks)
	}
}

func TestOnlyTheAbsentNodesPartsAreTakenOver(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	b, gone := l.Away(config, "n2", "10.42.16.0/26")
	b.Parts = []record.Part{{Prefix: lab.Prefix("10.42.16.0/27"), Owner: "n2"}, {Prefix: lab.Prefix("10.42.16.32/27"), Owner: "n3"}}
	b.Revision = l.Put(s.KV.Keys.Block("default", b.Prefix), kv.Encode(b))
	got, err := block.TakeOver(t.Context(), l.Join(s, "n1").Session, b, config.PoolRevisions["default"], gone)
	l.Check(err)
	if got.Parts[0].Owner != "n1" || got.Parts[1].Owner != "n3" || got.Parts[1].Taken {
		t.Errorf("taken was %+v", got)
	}
}

func TestAReturnIsTheVeto(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(config, "n2", "10.42.16.0/26")
	taker := l.Join(l.Store(), "n1")
	back := l.JoinBriefly(l.Store(), "n2")
	take := func() error {
		return lab.Second(block.TakeOver(t.Context(), taker.Session, b, config.PoolRevisions["default"], gone))
	}
	if err := take(); !errors.Is(err, block.ErrTaken) {
		t.Errorf("from a node that is back: %v", err)
	}
	l.Absent(l.Store(), "n2")
	if err := take(); !errors.Is(err, block.ErrTaken) {
		t.Errorf("from a node that was back in between, by the wait from before: %v", err)
	}
	gone.Revision = back.Generation()
	l.Check(take())
}

func TestNothingIsTakenOverFromANodeThatIsThere(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	there := l.Join(l.Store(), "n2")
	b := l.Claims(there, config, "10.42.16.0/26")
	taker := l.Join(l.Store(), "n1")
	absence := record.Absence{Node: "n2", Revision: there.Generation()}
	_, err := block.TakeOver(t.Context(), taker.Session, b, config.PoolRevisions["default"], absence)
	if !errors.Is(err, block.ErrTaken) {
		t.Errorf("the error is %v", err)
	}
}

func TestOfTwoWhoTakeOneHasIt(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(config, "n9", "10.42.16.0/26")
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		x := l.Join(l.Store(), name)
		all.Go(func() {
			got, err := block.TakeOver(t.Context(), x.Session, b, config.PoolRevisions["default"], gone)
			lost, is := errors.AsType[*block.LostError](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && lab.OwnedBy(got, name):
				won++
			case !is || lost.Block.Revision == 0:
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d have it", won)
	}
}

func TestATakeoverByAnOlderConfigurationFails(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(config, "n2", "10.42.16.0/26")
	if _, err := block.TakeOver(t.Context(), l.Join(l.Store(), "n1").Session, b, config.PoolRevisions["default"]-1, gone); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the error is %v", err)
	}
}
