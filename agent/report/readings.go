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
	readingEvery = time.Second      // the shortest time between two reads of etcd, for all callers
	readingTime  = 10 * time.Second // bounds one read: less than the web server's write timeout
)

// readings share reads of etcd among the callers that ask for the version of a set: there is one at most every readingEvery. A
// caller gets a read that begins after its request, so that the answer is never older than the question.
type readings struct {
	Alive   context.Context // ends with the agent
	mu      lockorder.Subject
	began   time.Time // of the last one
	pending *reading  // the one that has not begun
}

// A reading is one read of etcd, for all callers that asked before it began.
type reading struct {
	done    chan struct{}
	reports *rollout.Reports
	err     error
}

// next waits for a reading that has not begun yet. One that has begun goes on after its caller has gone, because others may wait
// for it.
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

// begin ends the time in which callers can join the next reading.
func (r *readings) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.began = nil, time.Now()
}
