package agent

import (
	"context"
	"time"
)

// signal wakes one task; a signal that nobody has taken yet is not doubled.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// lower takes the signal back, if nobody has taken it.
func (s signal) lower() {
	select {
	case <-s:
	default:
	}
}

// pause waits for d, or for ctx to end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
