// Package transfers moves addresses between nodes: a node publishes what its ADDs wait for, the others donate half of what they
// can spare, and unneeded blocks are returned. A transfer whose answer was lost is indeterminate until the block's record has
// been rewritten.
package transfers

import (
	"context"

	"github.com/berth-ipam/berth/internal/task"
)

// Run demands, donates and returns addresses, until ctx ends.
func (e *Exchange) Run(ctx context.Context) error {
	return task.All(ctx, e.followDemands, e.demandAll, e.donateAll, e.giveBackIdle)
}
