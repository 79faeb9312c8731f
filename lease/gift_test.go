package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/allocator"
)

func parts(text ...string) (all []Part) {
	for i := 0; i < len(text); i += 2 {
		owner, taken := text[i+1], false
		if owner[0] == '!' {
			owner, taken = owner[1:], true
		}
		all = append(all, Part{Prefix: prefix(text[i]), Owner: owner, Taken: taken})
	}
	return all
}

func TestPartsAreWrittenInOneWay(t *testing.T) {
	whole := prefix("10.0.0.0/26")
	for _, c := range []struct{ from, want []Part }{
		{parts("10.0.0.32/27", "a", "10.0.0.0/27", "a"), parts("10.0.0.0/26", "a")},
		{parts("10.0.0.32/27", "a", "10.0.0.16/28", "a", "10.0.0.0/28", "a"), parts("10.0.0.0/26", "a")},
		{parts("10.0.0.0/27", "a", "10.0.0.32/27", "b"), parts("10.0.0.0/27", "a", "10.0.0.32/27", "b")},
		{parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a"), parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a")},
		{parts("10.0.0.16/28", "a", "10.0.0.32/28", "a"), parts("10.0.0.16/28", "a", "10.0.0.32/28", "a")}, // not siblings
		{parts("10.0.0.0/26", "a"), parts("10.0.0.0/26", "a")},
	} {
		if got := canonical(whole, slices.Clone(c.from)); !slices.Equal(got, c.want) {
			t.Errorf("%v is written %v, want %v", c.from, got, c.want)
		}
	}
}

func TestAPartMovesWithWhatIsSaidOfIt(t *testing.T) {
	b := Block{Prefix: prefix("10.0.0.0/26"), Parts: parts("10.0.0.0/27", "!a", "10.0.0.32/27", "b")}
	if got := b.moved(prefix("10.0.0.8/29"), "a", "c"); !slices.Equal(got.Parts, parts("10.0.0.0/29", "!a", "10.0.0.8/29", "!c", "10.0.0.16/28", "!a", "10.0.0.32/27", "b")) {
		t.Errorf("given: %v", got.Parts)
	}
	free := b.moved(b.Prefix, "a", "")
	if !slices.Equal(free.Parts, parts("10.0.0.32/27", "b")) || !slices.Equal(free.Uncovered(), []netip.Prefix{prefix("10.0.0.0/27")}) {
		t.Errorf("released: %v, and nobody's is %v", free.Parts, free.Uncovered())
	}
	if got := free.covered("b"); !slices.Equal(got.Parts, parts("10.0.0.0/26", "b")) {
		t.Errorf("claimed: %v", got.Parts)
	}
	if len(b.Parts) != 2 {
		t.Errorf("the block itself has become %v", b.Parts)
	}
}

// given is a lab in which n1 owns a block and the others are there.
func given(t *testing.T) (l *lab, revision int64, nodes []*Session, b Block) {
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

func (l *lab) demand(x *Session) Demand {
	l.Helper()
	d, err := x.Demand(l.Context(), Demand{Pool: "default", V4: 1})
	l.check(err)
	return d
}

func (l *lab) demands() []Demand {
	l.Helper()
	all, err := l.store().Demands(l.Context())
	l.check(err)
	return all
}

func (l *lab) block() Block {
	l.Helper()
	blocks, err := l.store().Blocks(l.Context())
	l.check(err)
	if len(blocks) != 1 {
		l.Fatalf("the blocks are %+v", blocks)
	}
	return blocks[0]
}

func TestAGiftMovesThePartEndsTheDemandAndWhatWasPublished(t *testing.T) {
	l, _, n, b := given(t)
	l.check(n[0].Publish(t.Context(), Batch{Blocks: []Block{b}, Set: assignments(addr("10.42.16.20"), 30)}))
	d := l.demand(n[1])
	if got := l.demands(); len(got) != 1 || got[0].Node != "n2" || got[0].Pool != "default" || got[0].V4 != 1 || got[0].Revision != d.Revision {
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
	published, err := l.store().Assignments(t.Context())
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
			x    *Session
			b    *Block
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
		if errs[won] != nil || !errors.Is(errs[1-won], ErrDemandMet) {
			t.Fatalf("the gifts: %v; %v", errs[0], errs[1])
		}
		if loser := givers[1-won]; !loser.b.owned(loser.part, loser.x.Node().Name) {
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
	for what, b := range map[string]Block{"a block that has changed": b, "a part of another": settled.moved(prefix("10.42.16.32/32"), "n1", "n3")} {
		if _, ok := errors.AsType[*LostBlockError](second(n[0].Give(t.Context(), b, part, d))); !ok {
			t.Errorf("%s was given", what)
		}
	}
	withdrawn := d
	l.check(n[1].Withdraw(t.Context(), "default"))
	l.check(n[1].Withdraw(t.Context(), "default"))
	if err := second(n[0].Give(t.Context(), settled, part, withdrawn)); !errors.Is(err, ErrDemandMet) {
		t.Errorf("to a demand that was withdrawn: %v", err)
	}
	large, err := n[0].ClaimBlock(t.Context(), "default", revision, prefix("10.42.18.0/25"))
	l.check(err)
	if err := second(n[0].Give(t.Context(), large, large.Prefix, l.demand(n[1]))); !errors.Is(err, ErrManyParts) {
		t.Errorf("128 addresses at once: %v", err)
	}
}

func TestNothingIsGivenToTheDead(t *testing.T) {
	l, _, n, b := given(t)
	dying := l.joinBriefly(l.store(), "n9")
	d := l.demand(dying)
	// The key alone goes, and then the demand with the lease.
	_, err := l.raw().Delete(t.Context(), l.store().keys.session("n9"))
	l.check(err)
	if err := second(n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)); !errors.Is(err, ErrDemandMet) {
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
	if err := second(n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)); !errors.Is(err, ErrReplaced) {
		t.Errorf("a gift of the former life: %v", err)
	}
	for what, err := range map[string]error{
		"demand":   second(n[0].Demand(t.Context(), d)),
		"withdraw": n[0].Withdraw(t.Context(), "default"),
		"settle":   second(n[0].SettleBlock(t.Context(), b)),
	} {
		if !errors.Is(err, ErrReplaced) {
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
		claims, errs := make([]Block, 2), make([]error, 2)
		var wait sync.WaitGroup
		for i := range claims {
			wait.Go(func() { claims[i], errs[i] = n[2+i].ClaimBlock(t.Context(), "default", revision, b.Prefix) })
		}
		wait.Wait()
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], ErrTaken) || claims[0].OwnerOf(addr("10.42.16.40")) != fmt.Sprint("n", 3+won) {
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

func TestABlockIsNotSplitWithoutBound(t *testing.T) {
	x := &Session{node: node("n1")}
	b := Block{Pool: "default", Prefix: prefix("10.0.0.0/16")}
	for i := range maxParts - 1 {
		owner := fmt.Sprint("n", 1+i%2)
		b.Parts = append(b.Parts, Part{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 6), byte(i << 2)}), 30), Owner: owner})
	}
	if err := second(x.Give(t.Context(), b, prefix("10.0.0.1/32"), Demand{Pool: "default", Node: "n3"})); !errors.Is(err, ErrManyParts) {
		t.Errorf("a block of %d parts was split: %v", len(b.Parts), err)
	}
}

// A giver hears nothing of its gift. Only writing the block tells what became of it, and a late one does nothing then.
func TestAGiftInDoubtIsSettledByWriting(t *testing.T) {
	l, _, n, b := given(t)
	w := l.wire()
	cut := l.store(func(o *Options) { o.Endpoints = []string{w.endpoint} })
	giver := &Session{store: cut, node: n[0].node, generation: n[0].generation, lease: n[0].lease}
	d := l.demand(n[1])
	w.cut()
	ctx, cancel := context.WithTimeout(t.Context(), callTime/50)
	defer cancel()
	_, err := giver.Give(ctx, b, prefix("10.42.16.32/27"), d)
	if err == nil || errors.Is(err, ErrDemandMet) {
		t.Fatalf("with the wire cut: %v", err)
	}
	now, err := n[0].SettleBlock(t.Context(), b)
	l.check(err)
	if now.Revision <= b.Revision || !slices.Equal(now.Parts, b.Parts) {
		t.Errorf("settled: %+v", now)
	}
	w.mend()
	if _, ok := errors.AsType[*LostBlockError](second(giver.Give(t.Context(), b, prefix("10.42.16.32/27"), d))); !ok {
		t.Error("a gift from before the settling was carried out after it")
	}
	// And one that was carried out, unheard.
	after, err := n[0].Give(t.Context(), now, prefix("10.42.16.32/27"), d)
	l.check(err)
	if got, err := n[0].SettleBlock(t.Context(), now); err != nil || got.Revision != after.Revision || got.OwnerOf(addr("10.42.16.40")) != "n2" {
		t.Errorf("settled: %+v, %v", got, err)
	}
	if again, err := n[0].Give(t.Context(), now, prefix("10.42.16.32/27"), d); err != nil || again.Revision != after.Revision {
		t.Errorf("repeated: %+v, %v", again, err)
	}
}

func TestAfterLostAnswersAnAddressHasOneOwner(t *testing.T) {
	l := newLab(t)
	revision := l.apply(l.store(), smallest()).PoolRevisions["default"]
	const nodes, turns = 3, 25
	block := prefix("10.42.16.0/29")
	var mu sync.Mutex
	owners := map[netip.Addr]string{} // as the nodes believe
	var wait sync.WaitGroup
	for i := range nodes {
		wait.Go(func() {
			l.shaky(func(s *Store) {
				x := l.insistJoin(s, fmt.Sprint("n", i))
				name := x.Node().Name
				believe := func(b Block, mine bool) {
					mu.Lock()
					defer mu.Unlock()
					for _, p := range b.Of(name) {
						for a := p.Prefix.Addr(); p.Prefix.Contains(a); a = a.Next() {
							if other := owners[a]; mine && other != "" && other != name {
								t.Errorf("%s is %s's and %s's", a, other, name)
							}
							delete(owners, a)
							if mine {
								owners[a] = name
							}
						}
					}
				}
				for range turns {
					if err := l.turn(x, revision, block, believe); err != nil {
						t.Error(err)
						return
					}
				}
			})
		})
	}
	wait.Wait()
}

// turn claims what is free of a block, or demands, and gives what it has to whoever demands.
func (l *lab) turn(x *Session, revision int64, block netip.Prefix, believe func(Block, bool)) error {
	var b Block
	err := l.insist(func(ctx context.Context) (err error) {
		b, err = x.ClaimBlock(ctx, "default", revision, block)
		return err
	})
	if errors.Is(err, ErrTaken) {
		return l.insist(func(ctx context.Context) error { _, err := x.Demand(ctx, Demand{Pool: "default", V4: 1}); return err })
	}
	if err != nil {
		return err
	}
	believe(b, true)
	var demands []Demand
	if err := l.insist(func(ctx context.Context) (err error) { demands, err = x.store.Demands(ctx); return err }); err != nil {
		return err
	}
	believe(b, false) // out of the allocator, before anything is sent
	for _, d := range demands {
		own := b.Of(x.Node().Name)
		if d.Node == x.Node().Name || len(own) == 0 {
			continue
		}
		part := netip.PrefixFrom(own[rand.IntN(len(own))].Prefix.Addr(), 32)
		ctx, cancel := context.WithTimeout(l.Context(), callTime)
		now, err := x.Give(ctx, b, part, d)
		cancel()
		_, lost := errors.AsType[*LostBlockError](err)
		if err != nil && !lost && !errors.Is(err, ErrDemandMet) {
			// In doubt.
			if err := l.insist(func(ctx context.Context) (err error) { now, err = x.SettleBlock(ctx, b); return err }); err != nil {
				return err
			}
		}
		b = now
	}
	return nil
}

func TestDemandsAreFollowed(t *testing.T) {
	l, _, n, b := given(t)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	updates := make(chan Update[Demand], 10)
	done.Go(func() { _ = l.store().FollowDemands(ctx, func(u Update[Demand]) { updates <- u }) })
	l.Cleanup(func() { cancel(); done.Wait() })
	<-updates
	d := l.demand(n[1])
	if u := <-updates; len(u.Set) != 1 || u.Set[0].Node != "n2" || u.Set[0].Of(allocator.V4) != 1 || u.Set[0].Of(allocator.V6) != 0 || u.Set[0].Revision != d.Revision {
		t.Errorf("the demand is followed as %+v", u)
	}
	_, err := n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)
	l.check(err)
	if u := <-updates; len(u.Gone) != 1 || u.Gone[0].Node != "n2" || u.Gone[0].Pool != "default" {
		t.Errorf("the gift is followed as %+v", u)
	}
}
