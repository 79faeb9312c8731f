package report

import (
	"context"
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/rollout"
)

const (
	readingEvery = time.Second      // how often etcd is read at most for all who ask for the version of a set
	readingTime  = 10 * time.Second // how long etcd may take: short of the time after which the web server answers nothing
)

// readings share what etcd tells of all sets among those who ask: it is read at most once every readingEvery. Whoever asks
// gets a reading that begins after that, so that no answer is older than its question, and a set is never said to be
// complete by what was true before.
type readings struct {
	Alive   context.Context // ends with the agent
	mu      lockorder.Subject
	began   time.Time // the last one
	pending *reading  // the one that has not begun yet
}

// A reading is one for everybody who asked before it began.
type reading struct {
	done    chan struct{}
	reports *rollout.Reports
	err     error
}

// next waits for a reading that has not begun yet. One that has begun goes on when who asked for it has gone: others may
// wait for it.
func (r *readings) next(ctx context.Context, tasks *sync.WaitGroup,
	read func(context.Context) (*rollout.Reports, error)) (*rollout.Reports, error) {
	one := r.join(tasks, read)
	select {
	case <-one.done:
		return one.reports, one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *readings) join(tasks *sync.WaitGroup, read func(context.Context) (*rollout.Reports, error)) *reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending != nil {
		return r.pending
	}
	one := &reading{done: make(chan struct{})}
	r.pending = one
	rest := time.Until(r.began.Add(readingEvery))
	tasks.Go(func() {
		defer close(one.done)
		task.Pause(r.Alive, rest)
		r.begin()
		ctx, cancel := context.WithTimeout(r.Alive, readingTime)
		defer cancel()
		one.reports, one.err = read(ctx)
	})
	return one
}

// begin ends the time in which others can join the next reading.
func (r *readings) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.began = nil, time.Now()
}
