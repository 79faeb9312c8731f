package faults

import (
	"context"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

const (
	askEvery  = 100 * time.Millisecond // each member of etcd, from each node
	askWithin = 400 * time.Millisecond
	blink     = time.Second // a shorter time without an answer is a busy machine's
)

// cutOff is the reason of an absence in which a node does not reach etcd.
const cutOff = "cut off"

// A reach is whether a node gets answers from etcd.
type reach struct {
	mu   sync.Mutex
	last time.Duration // when the latest question was sent that was answered
}

// reaching asks every member of etcd from every node until ctx ends, and enters the times in which a node got no answer
// from any. What Berth says of itself does not count.
func (w *world) reaching(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range w.nodes {
		h.reach.answered(w.now(), w.now())
		for _, m := range w.lab.Etcd.Members {
			all.Go(func() {
				tick := time.NewTicker(askEvery)
				defer tick.Stop()
				for ctx.Err() == nil {
					sent := w.now()
					once, cancel := context.WithTimeout(ctx, askWithin)
					if h.Asks(once, m) == nil {
						w.reached(h, sent, w.now())
					}
					cancel()
					select {
					case <-ctx.Done():
					case <-tick.C:
					}
				}
			})
		}
	}
	all.Wait()
}

// reached takes in that a node got an answer.
func (w *world) reached(h *host, sent, at time.Duration) {
	if since, long := h.reach.answered(sent, at); long {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.history.Absences = append(w.history.Absences, check.Absence{Node: h.Name, Reason: cutOff, Begin: since, End: at})
	}
}

// answered gives the time without an answer that this one ends, if it was long.
func (r *reach) answered(sent, at time.Duration) (since time.Duration, long bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since = r.last
	r.last = max(r.last, sent)
	return since, sent > since && at-since > blink
}

// silence gives since when nobody has got an answer, if that is long ago.
func (r *reach) silence(now time.Duration) (since time.Duration, long bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, now-r.last > blink
}
