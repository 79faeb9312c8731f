package report

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-ipam/berth/lease/rollout"
)

func TestAllWhoAskForTheVersionReadEtcdOnceASecondAndGetWhatIsNotOlderThanTheirQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads, answers atomic.Int64
		began := time.Now()
		r := &readings{Alive: t.Context()}
		read := func(context.Context) (*rollout.Reports, error) {
			reads.Add(1)
			time.Sleep(300 * time.Millisecond) // etcd's own time
			return new(rollout.Reports), nil
		}
		var tasks, askers sync.WaitGroup
		for i := range 100 {
			askers.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				before := reads.Load()
				if reports, err := r.next(t.Context(), &tasks, read); reports == nil || err != nil {
					t.Errorf("%v, %v", reports, err)
				}
				if reads.Load() == before {
					t.Error("an answer is of a reading that began before its question")
				}
				answers.Add(1)
			})
		}
		askers.Wait()
		tasks.Wait()
		if n, most := reads.Load(), int64(time.Since(began)/readingEvery)+1; n > most || answers.Load() != 100 {
			t.Errorf("etcd was read %d times in %s for %d answers", n, time.Since(began), answers.Load())
		}
	})
}

func TestWhoGoesAwayEndsNobodysReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &readings{Alive: t.Context()}
		read := func(ctx context.Context) (*rollout.Reports, error) {
			time.Sleep(time.Second)
			return new(rollout.Reports), ctx.Err()
		}
		var tasks sync.WaitGroup
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.next(gone, &tasks, read); err == nil {
			t.Error("who has gone got an answer")
		}
		if _, err := r.next(t.Context(), &tasks, read); err != nil {
			t.Error(err)
		}
		tasks.Wait()
	})
}
