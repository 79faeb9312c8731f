package block_test

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
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// A donor learns nothing of its transfer. Only writing the block tells what became of it, and a late one does nothing then.
func TestATransferWhoseOutcomeIsUnknownIsResolvedByWriting(t *testing.T) {
	l, _, n, b := given(t)
	w := l.Wire()
	cut := l.Store(func(o *kv.Options) { o.Endpoints = []string{w.Endpoint} })
	donor := l.Join(cut, "n1") // again, and so it still owns the block
	d := l.Demand(n[1])
	w.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), kv.CallTime/50)
	defer cancel()
	_, err := block.Transfer(ctx, donor.Session, b, lab.Prefix("10.42.16.32/27"), d)
	if err == nil || errors.Is(err, block.ErrDemandMet) {
		t.Fatalf("with the wire cut: %v", err)
	}
	w.Repair()
	var now record.Block
	l.Check(l.Insist(func(ctx context.Context) (err error) { now, err = block.Resolve(ctx, donor.Session, b); return err }))
	if now.Revision <= b.Revision || !slices.Equal(now.Parts, b.Parts) {
		t.Errorf("settled: %+v", now)
	}
	_, err = block.Transfer(t.Context(), donor.Session, b, lab.Prefix("10.42.16.32/27"), d)
	if _, ok := errors.AsType[*block.LostError](err); !ok {
		t.Error("a transfer from before the settling was carried out after it")
	}
	// And one that was carried out, with its answer lost.
	after, err := block.Transfer(t.Context(), donor.Session, now, lab.Prefix("10.42.16.32/27"), d)
	l.Check(err)
	if got, err := block.Resolve(t.Context(), donor.Session, now); err != nil || got.Revision != after.Revision ||
		got.OwnerOf(lab.Addr("10.42.16.40")) != "n2" {
		t.Errorf("settled: %+v, %v", got, err)
	}
	again, err := block.Transfer(t.Context(), donor.Session, now, lab.Prefix("10.42.16.32/27"), d)
	if err != nil || again.Revision != after.Revision {
		t.Errorf("repeated: %+v, %v", again, err)
	}
}

func TestAfterLostAnswersAnAddressHasOneOwner(t *testing.T) {
	l := lab.New(t)
	revision := l.Apply(l.Store(), lab.Smallest()).PoolRevisions["default"]
	const nodes, turns = 3, 25
	whole := lab.Prefix("10.42.16.0/29")
	var mu sync.Mutex
	owners := map[netip.Addr]string{} // as the nodes believe
	var wait sync.WaitGroup
	for i := range nodes {
		wait.Go(func() {
			l.Shaky(func(s *lab.Store) {
				x := l.InsistJoin(s, fmt.Sprint("n", i))
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
					if err := turn(l, x, revision, whole, believe); err != nil {
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
func turn(l *lab.Lab, x *lab.Joined, revision int64, wanted netip.Prefix, believe func(record.Block, bool)) error {
	var b record.Block
	err := l.Insist(func(ctx context.Context) (err error) {
		b, err = block.Claim(ctx, x.Session, "default", revision, wanted)
		return err
	})
	if errors.Is(err, block.ErrTaken) {
		return l.Insist(func(ctx context.Context) error {
			_, err := block.Demand(ctx, x.Session, record.Demand{Pool: "default", V4: 1})
			return err
		})
	}
	if err != nil {
		return err
	}
	believe(b, true)
	var demands []record.Demand
	if err := l.Insist(func(ctx context.Context) (err error) { demands, err = x.Store.Blocks.Demands(ctx); return err }); err != nil {
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
		now, err := block.Transfer(ctx, x.Session, b, part, d)
		cancel()
		_, lost := errors.AsType[*block.LostError](err)
		if err != nil && !lost && !errors.Is(err, block.ErrDemandMet) {
			// In doubt.
			if err := l.Insist(func(ctx context.Context) (err error) { now, err = block.Resolve(ctx, x.Session, b); return err }); err != nil {
				return err
			}
		}
		b = now
	}
	return nil
}
