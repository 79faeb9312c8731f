package node

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
)

// startPatience is how long after its caller began a request waits for an agent that has just started: as long as the plugin waits
// for one that does not listen yet, so that to replace an agent fails nobody.
const startPatience = 5 * time.Second

// startPoll is how often a request looks meanwhile.
const startPoll = 10 * time.Millisecond

// AwaitStart waits until this agent has settled what its node holds, for as long as the caller would wait for an agent that is
// away. Before that an ADD would meet what is not known yet: the configuration, and what was lost. Its error says what the
// agent waits for.
func (n *Node) AwaitStart(ctx context.Context, began allocator.Instant) error {
	end := wire.Boottime() + startPatience
	if began > 0 && began < wire.Boottime() {
		end = began + startPatience
	}
	for {
		reason := n.WhyNotReady()
		if reason == "" {
			return nil
		}
		if wire.Boottime() >= end || ctx.Err() != nil {
			return wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", n.Name, reason)
		}
		task.Pause(ctx, startPoll)
	}
}
