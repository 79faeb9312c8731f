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

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A giver hears nothing of its gift. Only writing the block tells what became of it, and a late one does nothing then.
func TestAGiftInDoubtIsSettledByWriting(t *testing.T) {
	l, _, n, b := given(t)
	w := l.wire()
	cut := l.store(func(o *kv.Options) { o.Endpoints = []string{w.endpoint} })
	giver := &joined{Session: n[0].Over(cut.KV)}
	d := l.demand(n[1])
	w.cut()
	ctx, cancel := context.WithTimeout(t.Context(), kv.CallTime/50)
	defer cancel()
	_, err := giver.Give(ctx, b, prefix("10.42.16.32/27"), d)
	if err == nil || errors.Is(err, block.ErrDemandMet) {
		t.Fatalf("with the wire cut: %v", err)
	}
	now, err := n[0].SettleBlock(t.Context(), b)
	l.check(err)
	if now.Revision <= b.Revision || !slices.Equal(now.Parts, b.Parts) {
		t.Errorf("settled: %+v", now)
	}
	w.mend()
	if _, ok := errors.AsType[*block.LostError](second(giver.Give(t.Context(), b, prefix("10.42.16.32/27"), d))); !ok {
		t.Error("a gift from before the settling was carried out after it")
	}
	// And one that was carried out, unheard.
	after, err := n[0].Give(t.Context(), now, prefix("10.42.16.32/27"), d)
	l.check(err)
	if got, err := n[0].SettleBlock(t.Context(), now); err != nil || got.Revision != after.Revision ||
		got.OwnerOf(addr("10.42.16.40")) != "n2" {
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
				believe := func(b record.Block, mine bool) {
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
func (l *lab) turn(x *joined, revision int64, wanted netip.Prefix, believe func(record.Block, bool)) error {
	var b record.Block
	err := l.insist(func(ctx context.Context) (err error) {
		b, err = x.ClaimBlock(ctx, "default", revision, wanted)
		return err
	})
	if errors.Is(err, block.ErrTaken) {
		return l.insist(func(ctx context.Context) error {
			_, err := x.Demand(ctx, record.Demand{Pool: "default", V4: 1})
			return err
		})
	}
	if err != nil {
		return err
	}
	believe(b, true)
	var demands []record.Demand
	if err := l.insist(func(ctx context.Context) (err error) { demands, err = x.store.Blocks.Demands(ctx); return err }); err != nil {
		return err
	}
	believe(b, false) // out of the allocator, before anything is sent
	for _, d := range demands {
		own := b.Of(x.Node().Name)
		if d.Node == x.Node().Name || len(own) == 0 {
			continue
		}
		part := netip.PrefixFrom(own[rand.IntN(len(own))].Prefix.Addr(), 32)
		ctx, cancel := context.WithTimeout(l.Context(), kv.CallTime)
		now, err := x.Give(ctx, b, part, d)
		cancel()
		_, lost := errors.AsType[*block.LostError](err)
		if err != nil && !lost && !errors.Is(err, block.ErrDemandMet) {
			// In doubt.
			if err := l.insist(func(ctx context.Context) (err error) { now, err = x.SettleBlock(ctx, b); return err }); err != nil {
				return err
			}
		}
		b = now
	}
	return nil
}
