// Package rundir restores what is removed of the run directory while the agent runs, and reports a settings file that has changed
// since the start.
package rundir

import (
	"context"

	"github.com/berth-ipam/berth/internal/task"
)

// Run keeps the run directory, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	return task.All(ctx, k.keepRunDir, k.watchSettings)
}
