package rollout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestAfterLostAnswersWhatWasPublishedIsWhatStands(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	var said map[netip.Addr]record.Assignment
	const rounds = 60
	l.Shaky(func(s *lab.Store) {
		x := l.InsistJoin(s, "n1")
		var b record.Block
		l.Check(l.Insist(func(ctx context.Context) (err error) {
			b, err = block.Claim(ctx, x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
			return err
		}))
		said = map[netip.Addr]record.Assignment{}
		for round := range rounds {
			batch := rollout.Batch{Status: record.Status{Applied: int64(round + 1)}, Blocks: []record.Block{b}}
			for _, a := range lab.Assignments(lab.Addr("10.42.16.1"), 20) {
				a.Attachment = lab.Attachment(fmt.Sprint("round-", round))
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
				_ = rollout.Publish(ctx, x.Session, batch)
				cancel()
				continue
			}
			l.Check(l.Insist(func(ctx context.Context) error { return rollout.Publish(ctx, x.Session, batch) }))
		}
	})
	got, err := l.Store().Blocks.Assignments(t.Context())
	l.Check(err)
	if len(got) != len(said) {
		t.Errorf("%d are there, %d were published", len(got), len(said))
	}
	for _, a := range got {
		if a != said[a.Address] {
			t.Errorf("there is %+v, published was %+v", a, said[a.Address])
		}
	}
	statuses, err := l.Store().Rollout.Statuses(t.Context())
	if err != nil || statuses["n1"].Applied != rounds {
		t.Errorf("the status is %+v, %v", statuses["n1"], err)
	}
}
