package block_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// given is a lab in which n1 owns a block and the others are there.
func given(t *testing.T) (l *lab.Lab, revision int64, nodes []*lab.Joined, b record.Block) {
	l = lab.New(t)
	s := l.Store()
	revision = l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	for i := range 4 {
		nodes = append(nodes, l.Join(l.Store(), fmt.Sprint("n", i+1)))
	}
	b, err := block.Claim(t.Context(), nodes[0].Session, "default", revision, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	return l, revision, nodes, b
}

func blockNow(l *lab.Lab) record.Block {
	l.Helper()
	blocks, err := l.Store().Blocks.List(l.Context())
	l.Check(err)
	if len(blocks) != 1 {
		l.Fatalf("the blocks are %+v", blocks)
	}
	return blocks[0]
}

func TestATransferMovesThePartEndsTheDemandAndWhatWasPublished(t *testing.T) {
	l, _, n, b := given(t)
	batch := rollout.Batch{Blocks: []record.Block{b}, Set: lab.Assignments(lab.Addr("10.42.16.20"), 30)}
	l.Check(rollout.Publish(t.Context(), n[0].Session, batch))
	d := l.Demand(n[1])
	if got := demandsNow(l); len(got) != 1 || got[0].Node != "n2" || got[0].Pool != "default" || got[0].V4 != 1 ||
		got[0].Revision != d.Revision {
		t.Errorf("the demands are %+v", got)
	}
	after, err := block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.32/27"), d)
	l.Check(err)
	now, parts := blockNow(l), lab.Parts("10.42.16.0/27", "n1", "10.42.16.32/27", "n2")
	if !slices.Equal(now.Parts, parts) || now.Revision != after.Revision {
		t.Errorf("the block is %+v, the transfer says %+v", now, after)
	}
	if got := demandsNow(l); len(got) != 0 {
		t.Errorf("the demands are %+v", got)
	}
	published, err := l.Store().Blocks.Assignments(t.Context())
	l.Check(err)
	if len(published) != 12 || !published[11].Address.Less(lab.Addr("10.42.16.32")) {
		t.Errorf("published are %+v", published)
	}
}

func TestATransferToADemandThatIsMetMovesNothing(t *testing.T) {
	l, revision, n, b := given(t)
	other, err := block.Claim(t.Context(), n[1].Session, "default", revision, lab.Prefix("10.42.17.0/26"))
	l.Check(err)
	for range 20 {
		d := l.Demand(n[2])
		donors := []struct {
			x    *lab.Joined
			b    *record.Block
			part netip.Prefix
		}{{n[0], &b, lab.Prefix("10.42.16.8/32")}, {n[1], &other, lab.Prefix("10.42.17.8/32")}}
		errs := make([]error, len(donors))
		var wait sync.WaitGroup
		for i, g := range donors {
			wait.Go(func() { *g.b, errs[i] = block.Transfer(t.Context(), g.x.Session, *g.b, g.part, d) })
		}
		wait.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], block.ErrDemandMet) {
			t.Fatalf("the transfers: %v; %v", errs[0], errs[1])
		}
		if loser := donors[1-won]; !loser.b.Owned(loser.part, loser.x.Node().Name) {
			t.Fatalf("the loser's block is %+v", loser.b)
		}
		back := donors[won]
		*back.b, err = block.Release(t.Context(), n[2].Session, *back.b, back.b.Prefix)
		l.Check(err)
		*back.b, err = block.Claim(t.Context(), back.x.Session, "default", revision, back.b.Prefix)
		l.Check(err)
	}
}

func TestNothingIsTransferredThatIsNotAsItWas(t *testing.T) {
	l, revision, n, b := given(t)
	part, d := lab.Prefix("10.42.16.32/27"), l.Demand(n[1])
	settled, err := block.Resolve(t.Context(), n[0].Session, b)
	l.Check(err)
	for what, b := range map[string]record.Block{"a block that has changed": b,
		"a part of another": settled.Moved(lab.Prefix("10.42.16.32/32"), "n1", "n3")} {
		if _, ok := errors.AsType[*block.LostError](lab.Second(block.Transfer(t.Context(), n[0].Session, b, part, d))); !ok {
			t.Errorf("%s was given", what)
		}
	}
	withdrawn := d
	l.Check(block.Withdraw(t.Context(), n[1].Session, "default"))
	l.Check(block.Withdraw(t.Context(), n[1].Session, "default"))
	if err := lab.Second(block.Transfer(t.Context(), n[0].Session, settled, part, withdrawn)); !errors.Is(err, block.ErrDemandMet) {
		t.Errorf("to a demand that was withdrawn: %v", err)
	}
	large, err := block.Claim(t.Context(), n[0].Session, "default", revision, lab.Prefix("10.42.18.0/25"))
	l.Check(err)
	if err := lab.Second(block.Transfer(t.Context(), n[0].Session, large, large.Prefix, l.Demand(n[1]))); !errors.Is(err, block.ErrManyParts) {
		t.Errorf("128 addresses at once: %v", err)
	}
}

func TestNothingIsTransferredToADeadNode(t *testing.T) {
	l, _, n, b := given(t)
	dying := l.JoinBriefly(l.Store(), "n9")
	d := l.Demand(dying)
	// The key alone goes, and then the demand with the lease.
	l.Delete(l.Store().KV.Keys.Session("n9"))
	if err := lab.Second(block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.8/32"), d)); !errors.Is(err, block.ErrDemandMet) {
		t.Errorf("to a node without a session: %v", err)
	}
	l.Until("the demand ends with the session", func() bool { return len(demandsNow(l)) == 0 })
	if now := blockNow(l); !slices.Equal(now.Parts, b.Parts) {
		t.Errorf("the block is %+v", now)
	}
}

func TestADonorThatHasStartedAnewTransfersNothingLate(t *testing.T) {
	l, _, n, b := given(t)
	d := l.Demand(n[1])
	again := l.Join(l.Store(), "n1")
	if err := lab.Second(block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.8/32"), d)); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("a transfer of the former incarnation: %v", err)
	}
	for what, err := range map[string]error{
		"demand":   lab.Second(block.Demand(t.Context(), n[0].Session, d)),
		"withdraw": block.Withdraw(t.Context(), n[0].Session, "default"),
		"settle":   lab.Second(block.Resolve(t.Context(), n[0].Session, b)),
	} {
		if !errors.Is(err, session.ErrReplaced) {
			t.Errorf("%s of the former incarnation: %v", what, err)
		}
	}
	_, err := block.Transfer(t.Context(), again.Session, b, lab.Prefix("10.42.16.8/32"), d)
	l.Check(err)
}

func TestWhatIsReleasedOfASplitBlockCanBeClaimedByOne(t *testing.T) {
	l, revision, n, b := given(t)
	for range 10 {
		var err error
		b, err = block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.32/27"), l.Demand(n[1]))
		l.Check(err)
		b, err = block.Release(t.Context(), n[1].Session, b, lab.Prefix("10.42.16.32/28"))
		l.Check(err)
		if !slices.Equal(b.Uncovered(), []netip.Prefix{lab.Prefix("10.42.16.32/28")}) {
			t.Fatalf("the block is %+v", b)
		}
		claims, errs := make([]record.Block, 2), make([]error, 2)
		var wait sync.WaitGroup
		for i := range claims {
			wait.Go(func() { claims[i], errs[i] = block.Claim(t.Context(), n[2+i].Session, "default", revision, b.Prefix) })
		}
		wait.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], block.ErrTaken) || claims[0].OwnerOf(lab.Addr("10.42.16.40")) != fmt.Sprint("n", 3+won) {
			t.Fatalf("the claims: %+v, %v; %+v, %v", claims[0], errs[0], claims[1], errs[1])
		}
		b, err = block.Release(t.Context(), n[2+won].Session, claims[won], b.Prefix)
		l.Check(err)
		b, err = block.Release(t.Context(), n[1].Session, b, b.Prefix)
		l.Check(err)
		b, err = block.Claim(t.Context(), n[0].Session, "default", revision, b.Prefix)
		l.Check(err)
		if !slices.Equal(b.Parts, lab.Parts("10.42.16.0/26", "n1")) {
			t.Fatalf("the block is %+v", b)
		}
	}
}
