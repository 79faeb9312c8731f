// Package task has what long-running tasks are made of: a wait that a context ends, a job at intervals, and a signal that
// wakes one task.
package task

import (
	"context"
	"time"
)

// Pause waits for d, or until ctx ends: then it returns the context's error.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Every calls f at each interval, until ctx ends. It returns nil, so that it can be the whole of a task.
func Every(ctx context.Context, interval time.Duration, f func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if ctx.Err() != nil { // both had come
			return nil
		}
		f()
	}
}

// A Signal wakes one task. Raising it again before the task has seen it changes nothing.
type Signal chan struct{}

// NewSignal makes a signal that is not raised.
func NewSignal() Signal { return make(Signal, 1) }

// Raise wakes the task that receives from the signal, at once or when it next does.
func (s Signal) Raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Lower clears the signal, unless the task has seen it already.
func (s Signal) Lower() {
	select {
	case <-s:
	default:
	}
}
