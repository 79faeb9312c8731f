package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
)

// shaky runs work with a store whose way to etcd breaks again and again, with requests and answers lost on it.
func (l *lab) shaky(work func(s *Store)) {
	l.Helper()
	w := l.wire(true)
	work(l.store(func(o *kv.Options) { o.Endpoints = []string{w.endpoint} }))
	if lost := w.lost.Load(); lost == 0 {
		l.Error("nothing was lost on the way")
	}
}

// insist does a thing until it is done or refused: an unclear end is followed by one more try.
func (l *lab) insist(do func(ctx context.Context) error) error {
	for end := time.Now().Add(30 * time.Second); ; {
		// Half of the callers lose patience, too.
		ctx, cancel := context.WithTimeout(l.Context(), time.Duration(1+rand.IntN(200))*time.Millisecond)
		err := do(ctx)
		cancel()
		if err == nil || !kv.Away(err) || time.Now().After(end) {
			return err
		}
	}
}

func TestAfterLostAnswersEveryMemberHasOneAddress(t *testing.T) {
	l := newLab(t)
	pool := smallest()
	pool.Stateful = []netip.Prefix{prefix("10.42.0.0/25")}
	config := l.apply(l.store(), pool)
	const nodes, members = 3, 60
	var wait sync.WaitGroup
	var mu sync.Mutex
	var said []record.Reservation
	for n := range nodes {
		wait.Go(func() {
			l.shaky(func(s *Store) {
				x := l.insistJoin(s, fmt.Sprint("n", n))
				for i := n; i < members; i += nodes {
					var got []record.Reservation
					err := l.insist(func(ctx context.Context) (err error) {
						got, err = x.Reserve(ctx, []reservation.Request{asking(config, "default", identity("db", i), fmt.Sprint("c", i))})
						return err
					})
					if err == nil && i%4 == 0 {
						d := detachment(got[0])
						err = l.insist(func(ctx context.Context) error { return s.Reservations.Detach(ctx, []reservation.Detachment{d}) })
						got = nil
					}
					if err != nil {
						t.Errorf("member %d: %v", i, err)
						return
					}
					mu.Lock()
					said = append(said, got...)
					mu.Unlock()
				}
			})
		})
	}
	wait.Wait()
	l.agree(l.store(), said...)
	all, err := l.store().Reservations.List(t.Context())
	l.check(err)
	owner := map[allocator.Identity]netip.Addr{}
	for _, r := range all {
		if other, twice := owner[r.Identity]; twice {
			t.Errorf("%s has %s and %s", r.Identity, other, r.Address)
		}
		owner[r.Identity] = r.Address
	}
	if len(all) != members {
		t.Errorf("%d members have %d reservations", members, len(all))
	}
}

func (l *lab) insistJoin(s *Store, name string) (x *joined) {
	if err := l.insist(func(ctx context.Context) (err error) { x, err = s.Join(ctx, node(name)); return err }); err != nil {
		l.Error(err)
	}
	return x
}

func TestAfterLostAnswersWhatWasPublishedIsTheLastWord(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	var said map[netip.Addr]record.Assignment
	const rounds = 60
	l.shaky(func(s *Store) {
		x := l.insistJoin(s, "n1")
		var b record.Block
		l.check(l.insist(func(ctx context.Context) (err error) {
			b, err = x.ClaimBlock(ctx, "default", config.PoolRevisions["default"], prefix("10.42.16.0/26"))
			return err
		}))
		said = map[netip.Addr]record.Assignment{}
		for round := range rounds {
			batch := rollout.Batch{Status: record.Status{Applied: int64(round + 1)}, Blocks: []record.Block{b}}
			for _, a := range assignments(addr("10.42.16.1"), 20) {
				a.Attachment = attachment(fmt.Sprint("round-", round))
				if rand.IntN(2) == 0 {
					batch.Set, said[a.Address] = append(batch.Set, a), a
				} else {
					batch.Clear = append(batch.Clear, a)
					delete(said, a.Address)
				}
			}
			// Some batches are given up after one try, and what comes next must still be the last word.
			if rand.IntN(3) == 0 && round < rounds-1 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_ = x.Publish(ctx, batch)
				cancel()
				continue
			}
			l.check(l.insist(func(ctx context.Context) error { return x.Publish(ctx, batch) }))
		}
	})
	got, err := l.store().Blocks.Assignments(t.Context())
	l.check(err)
	if len(got) != len(said) {
		t.Errorf("%d are there, %d were published", len(got), len(said))
	}
	for _, a := range got {
		if a != said[a.Address] {
			t.Errorf("there is %+v, published was %+v", a, said[a.Address])
		}
	}
	statuses, err := l.store().Rollout.Statuses(t.Context())
	if err != nil || statuses["n1"].Applied != rounds {
		t.Errorf("the status is %+v, %v", statuses["n1"], err)
	}
}

func TestAfterLostAnswersABlockHasOneOwnerAtATime(t *testing.T) {
	l := newLab(t)
	revision := l.apply(l.store(), smallest()).PoolRevisions["default"]
	const nodes, turns = 2, 30
	wanted := prefix("10.42.16.0/26")
	var wait sync.WaitGroup
	var mu sync.Mutex
	owners := 0
	for n := range nodes {
		wait.Go(func() {
			l.shaky(func(s *Store) {
				x := l.insistJoin(s, fmt.Sprint("n", n))
				for turn := 0; turn < turns; {
					var b record.Block
					err := l.insist(func(ctx context.Context) (err error) {
						b, err = x.ClaimBlock(ctx, "default", revision, wanted)
						return err
					})
					if errors.Is(err, block.ErrTaken) {
						_ = kv.Pause(t.Context(), time.Millisecond)
						continue
					}
					turn++
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if owners++; owners > 1 {
						t.Error("two nodes own the block")
					}
					mu.Unlock()
					_ = kv.Pause(t.Context(), time.Millisecond)
					mu.Lock()
					owners--
					mu.Unlock()
					err = l.insist(func(ctx context.Context) error { return second(x.ReleaseBlock(ctx, b, b.Prefix)) })
					for lost, ok := errors.AsType[*block.LostError](err); ok; lost, ok = errors.AsType[*block.LostError](err) {
						// A claim that was given up long ago has arrived after the release: the block is this node's anew.
						if !lost.Block.OwnedBy(x.Node().Name) {
							t.Errorf("the release has lost %+v", lost.Block)
						}
						err = l.insist(func(ctx context.Context) error { return second(x.ReleaseBlock(ctx, lost.Block, wanted)) })
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		})
	}
	wait.Wait()
}

func TestAfterLostAnswersTheHistoryHasEachChangeOnce(t *testing.T) {
	l := newLab(t)
	l.apply(l.store(), smallest())
	const changes = 30
	l.shaky(func(s *Store) {
		for i := range changes {
			var base *config.Config
			if err := l.insist(func(ctx context.Context) (err error) { base, err = s.Config.Read(ctx); return err }); err != nil {
				t.Fatal(err)
			}
			next := base.Clone()
			pool := next.Pools["default"]
			pool.MTU = 1300 + i
			next.Pools["default"] = pool
			var after *config.Config
			err := l.insist(func(ctx context.Context) (err error) {
				after, err = s.Editor.Apply(ctx, base, next, config.Note{Who: fmt.Sprint("change ", i)})
				return err
			})
			// Who gave up and tries again with the same base may find that he has won himself.
			if conflict, ok := errors.AsType[*config.ConflictError](err); ok && conflict.Winner.Who == fmt.Sprint("change ", i) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if after.Changes != base.Changes+1 || after.Revision <= base.Revision || after.PoolRevisions["default"] != after.Revision {
				t.Fatalf("after change %d there is %+v", i, after)
			}
		}
	})
	history, err := l.store().Config.History(t.Context())
	l.check(err)
	if len(history) != changes+1 {
		t.Fatalf("%d changes have %d entries", changes, len(history))
	}
	for i, e := range history[1:] {
		if e.Who != fmt.Sprint("change ", i) || e.Number != int64(i+2) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}

func TestNothingHangsForEverWhileEtcdIsAway(t *testing.T) {
	l := newLab(t)
	l.options.Endpoints = []string{"unix:///nowhere/etcd.sock"}
	s := l.store()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{
		"config": second(s.Config.Read(ctx)),
		"blocks": second(s.Blocks.List(ctx)),
		"join":   second(s.Join(ctx, node("n1"))),
		"detach": s.Reservations.Detach(ctx, []reservation.Detachment{{Pool: "default", Addresses: []netip.Addr{addr("10.42.0.9")}}}),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
