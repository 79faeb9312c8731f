package agent

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
)

// patienceOfADD is how long an ADD waits for an agent that is away or starting, from the plugin's start on.
const patienceOfADD = 5 * time.Second

// awaitSettled waits until this node has settled for the first time: before that nothing may be handed out, and nobody
// isolated may pass. DEL, CHECK, GC, VERSION and STATUS do not wait. began is the plugin's start; 0: now.
func (a *Agent) awaitSettled(ctx context.Context, began allocator.Instant) error {
	if began == 0 {
		began = wire.Boottime()
	}
	for end := began + patienceOfADD; ; task.Pause(ctx, 10*time.Millisecond) {
		reason := a.waiting.Load()
		if reason == nil {
			return nil
		}
		if ctx.Err() != nil || wire.Boottime() >= end {
			return wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", a.Node, *reason)
		}
	}
}
