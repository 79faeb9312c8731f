package watch

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

const (
	gaugeEvery = 250 * time.Millisecond
	gaugeWork  = 10 * time.Millisecond // of a processor's time: longer than the scheduler lets anybody run without a pause
)

// gauge does a small work again and again until ctx ends, and notes how long each took. A round's own lateness would not tell what
// the machine leaves to programs: who sleeps most of the time is let run soon, however many others wait.
func (w *Watcher) gauge(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tick := time.NewTicker(gaugeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begin, used := w.clock(), processor()
		for processor()-used < gaugeWork && ctx.Err() == nil {
		}
		turn := check.Turn{Begin: begin, End: w.clock(), Work: gaugeWork}
		w.mu.Lock()
		w.turns = append(w.turns, turn)
		w.mu.Unlock()
	}
}

// processor is the time that this thread has had of a processor.
func processor() time.Duration {
	var used unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) // it does not fail for a clock that the kernel knows
	return time.Duration(used.Nano())
}

// Turns are the works that were done so far, in their order.
func (w *Watcher) Turns() []check.Turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.turns[:len(w.turns):len(w.turns)]
}
