package block_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAfterLostAnswersABlockHasOneOwnerAtATime(t *testing.T) {
	l := lab.New(t)
	revision := l.Apply(l.Store(), lab.Smallest()).PoolRevisions["default"]
	const nodes, turns = 2, 30
	wanted := lab.Prefix("10.42.16.0/26")
	var wait sync.WaitGroup
	var mu sync.Mutex
	owners := 0
	for n := range nodes {
		wait.Go(func() {
			l.Shaky(func(s *lab.Store) {
				x := l.InsistJoin(s, fmt.Sprint("n", n))
				for turn := 0; turn < turns; {
					var b record.Block
					err := l.Insist(func(ctx context.Context) (err error) {
						b, err = block.Claim(ctx, x.Session, "default", revision, wanted)
						return err
					})
					if errors.Is(err, block.ErrTaken) {
						_ = task.Pause(t.Context(), time.Millisecond)
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
					_ = task.Pause(t.Context(), time.Millisecond)
					mu.Lock()
					owners--
					mu.Unlock()
					err = l.Insist(func(ctx context.Context) error { return lab.Second(block.Release(ctx, x.Session, b, b.Prefix)) })
					for lost, ok := errors.AsType[*block.LostError](err); ok; lost, ok = errors.AsType[*block.LostError](err) {
						// A claim that was given up long ago has arrived after the release: the block is this node's anew.
						if !lab.OwnedBy(lost.Block, x.Node().Name) {
							t.Errorf("the release has lost %+v", lost.Block)
						}
						err = l.Insist(func(ctx context.Context) error { return lab.Second(block.Release(ctx, x.Session, lost.Block, wanted)) })
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
