package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// given is a lab in which n1 owns a block and the others are there.
func given(t *testing.T) (l *lab, revision int64, nodes []*joined, b record.Block) {
	l = newLab(t)
	s := l.store()
	revision = l.apply(s, smallest()).PoolRevisions["default"]
	for i := range 4 {
		nodes = append(nodes, l.join(l.store(), fmt.Sprint("n", i+1)))
	}
	b, err := nodes[0].ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26"))
	l.check(err)
	return l, revision, nodes, b
}

func (l *lab) block() record.Block {
	l.Helper()
	blocks, err := l.store().Blocks.List(l.Context())
	l.check(err)
	if len(blocks) != 1 {
		l.Fatalf("the blocks are %+v", blocks)
	}
	return blocks[0]
}

func TestAGiftMovesThePartEndsTheDemandAndWhatWasPublished(t *testing.T) {
	l, _, n, b := given(t)
	l.check(n[0].Publish(t.Context(), rollout.Batch{Blocks: []record.Block{b}, Set: assignments(addr("10.42.16.20"), 30)}))
	d := l.demand(n[1])
	if got := l.demands(); len(got) != 1 || got[0].Node != "n2" || got[0].Pool != "default" || got[0].V4 != 1 ||
		got[0].Revision != d.Revision {
		t.Errorf("the demands are %+v", got)
	}
	after, err := n[0].Give(t.Context(), b, prefix("10.42.16.32/27"), d)
	l.check(err)
	if now := l.block(); !slices.Equal(now.Parts, parts("10.42.16.0/27", "n1", "10.42.16.32/27", "n2")) || now.Revision != after.Revision {
		t.Errorf("the block is %+v, the gift says %+v", now, after)
	}
	if got := l.demands(); len(got) != 0 {
		t.Errorf("the demands are %+v", got)
	}
	published, err := l.store().Blocks.Assignments(t.Context())
	l.check(err)
	if len(published) != 12 || !published[11].Address.Less(addr("10.42.16.32")) {
		t.Errorf("published are %+v", published)
	}
}

func TestWhoGivesToADemandThatIsMetGivesNothing(t *testing.T) {
	l, revision, n, b := given(t)
	other, err := n[1].ClaimBlock(t.Context(), "default", revision, prefix("10.42.17.0/26"))
	l.check(err)
	for range 20 {
		d := l.demand(n[2])
		givers := []struct {
			x    *joined
			b    *record.Block
			part netip.Prefix
		}{{n[0], &b, prefix("10.42.16.8/32")}, {n[1], &other, prefix("10.42.17.8/32")}}
		errs := make([]error, len(givers))
		var wait sync.WaitGroup
		for i, g := range givers {
			wait.Go(func() { *g.b, errs[i] = g.x.Give(t.Context(), *g.b, g.part, d) })
		}
		wait.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], block.ErrDemandMet) {
			t.Fatalf("the gifts: %v; %v", errs[0], errs[1])
		}
		if loser := givers[1-won]; !loser.b.Owned(loser.part, loser.x.Node().Name) {
			t.Fatalf("the loser's block is %+v", loser.b)
		}
		back := givers[won]
		*back.b, err = n[2].ReleaseBlock(t.Context(), *back.b, back.b.Prefix)
		l.check(err)
		*back.b, err = back.x.ClaimBlock(t.Context(), "default", revision, back.b.Prefix)
		l.check(err)
	}
}

func TestNothingIsGivenThatIsNotAsItWas(t *testing.T) {
	l, revision, n, b := given(t)
	part, d := prefix("10.42.16.32/27"), l.demand(n[1])
	settled, err := n[0].SettleBlock(t.Context(), b)
	l.check(err)
	for what, b := range map[string]record.Block{"a block that has changed": b,
		"a part of another": settled.Moved(prefix("10.42.16.32/32"), "n1", "n3")} {
		if _, ok := errors.AsType[*block.LostError](second(n[0].Give(t.Context(), b, part, d))); !ok {
			t.Errorf("%s was given", what)
		}
	}
	withdrawn := d
	l.check(n[1].Withdraw(t.Context(), "default"))
	l.check(n[1].Withdraw(t.Context(), "default"))
	if err := second(n[0].Give(t.Context(), settled, part, withdrawn)); !errors.Is(err, block.ErrDemandMet) {
		t.Errorf("to a demand that was withdrawn: %v", err)
	}
	large, err := n[0].ClaimBlock(t.Context(), "default", revision, prefix("10.42.18.0/25"))
	l.check(err)
	if err := second(n[0].Give(t.Context(), large, large.Prefix, l.demand(n[1]))); !errors.Is(err, block.ErrManyParts) {
		t.Errorf("128 addresses at once: %v", err)
	}
}

func TestNothingIsGivenToTheDead(t *testing.T) {
	l, _, n, b := given(t)
	dying := l.joinBriefly(l.store(), "n9")
	d := l.demand(dying)
	// The key alone goes, and then the demand with the lease.
	l.delete(l.store().KV.Keys.Session("n9"))
	if err := second(n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)); !errors.Is(err, block.ErrDemandMet) {
		t.Errorf("to a node without a session: %v", err)
	}
	l.until("the demand ends with the session", func() bool { return len(l.demands()) == 0 })
	if now := l.block(); !slices.Equal(now.Parts, b.Parts) {
		t.Errorf("the block is %+v", now)
	}
}

func TestAGiverThatHasStartedAnewGivesNothingLate(t *testing.T) {
	l, _, n, b := given(t)
	d := l.demand(n[1])
	again := l.join(l.store(), "n1")
	if err := second(n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("a gift of the former life: %v", err)
	}
	for what, err := range map[string]error{
		"demand":   second(n[0].Demand(t.Context(), d)),
		"withdraw": n[0].Withdraw(t.Context(), "default"),
		"settle":   second(n[0].SettleBlock(t.Context(), b)),
	} {
		if !errors.Is(err, session.ErrReplaced) {
			t.Errorf("%s of the former life: %v", what, err)
		}
	}
	_, err := again.Give(t.Context(), b, prefix("10.42.16.8/32"), d)
	l.check(err)
}

func TestWhatIsGivenBackOfASplitBlockCanBeClaimedByOne(t *testing.T) {
	l, revision, n, b := given(t)
	for range 10 {
		var err error
		b, err = n[0].Give(t.Context(), b, prefix("10.42.16.32/27"), l.demand(n[1]))
		l.check(err)
		b, err = n[1].ReleaseBlock(t.Context(), b, prefix("10.42.16.32/28"))
		l.check(err)
		if !slices.Equal(b.Uncovered(), []netip.Prefix{prefix("10.42.16.32/28")}) {
			t.Fatalf("the block is %+v", b)
		}
		claims, errs := make([]record.Block, 2), make([]error, 2)
		var wait sync.WaitGroup
		for i := range claims {
			wait.Go(func() { claims[i], errs[i] = n[2+i].ClaimBlock(t.Context(), "default", revision, b.Prefix) })
		}
		wait.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], block.ErrTaken) || claims[0].OwnerOf(addr("10.42.16.40")) != fmt.Sprint("n", 3+won) {
			t.Fatalf("the claims: %+v, %v; %+v, %v", claims[0], errs[0], claims[1], errs[1])
		}
		b, err = n[2+won].ReleaseBlock(t.Context(), claims[won], b.Prefix)
		l.check(err)
		b, err = n[1].ReleaseBlock(t.Context(), b, b.Prefix)
		l.check(err)
		b, err = n[0].ClaimBlock(t.Context(), "default", revision, b.Prefix)
		l.check(err)
		if !slices.Equal(b.Parts, parts("10.42.16.0/26", "n1")) {
			t.Fatalf("the block is %+v", b)
		}
	}
}
