package node

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
)

// startPatience is how long after its caller began a request waits for an agent that has just started. The plugin waits as long
// for the socket, so that replacing an agent fails no request.
const startPatience = 5 * time.Second

// startPoll is the interval at which a request polls meanwhile.
const startPoll = 10 * time.Millisecond

// AwaitStart waits until this agent has settled, or until startPatience is over; its error then says what the agent waits for.
// Before settling, an ADD would miss the configuration and what was lost.
func (n *Node) AwaitStart(ctx context.Context, began allocator.Instant) error {
	end := n.Clock.Boot() + startPatience
	if began > 0 && began < n.Clock.Boot() {
		end = began + startPatience
	}
	for {
		reason := n.WhyNotReady()
		if reason == "" {
			return nil
		}
		if n.Clock.Boot() >= end || ctx.Err() != nil {
			return n.notReady(reason)
		}
		task.Pause(ctx, startPoll)
	}
}
