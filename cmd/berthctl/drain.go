package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
)

// drain stops the allocations from a pool, waits until it is not used any more, and gives the configuration as it is
// then.
func (c *ctl) drain(ctx context.Context, store *lease.Operator, base *config.Config, pool string, timeout time.Duration,
	note config.Note) (*config.Config, error) {
	if _, err := store.Editor.Drain(ctx, base, pool, note); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bar := c.progress()
	most := 0
	use, err := store.Editor.WaitDrained(bounded, pool, func(use config.PoolUse) {
		most = max(most, inUse(use))
		bar.show(most-inUse(use), most, "given back; left: "+useWords(use))
	})
	bar.end()
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil, incompleteError{fmt.Errorf("pool %s stays draining: it is in use after %s: %s\n%s",
			pool, timeout, useWords(use), backIntoUse)}
	case err != nil:
		return nil, err
	}
	return store.Config.Read(ctx)
}

// backIntoUse is how a pool that drains is removed after all, or not.
const backIntoUse = `Run this again to go on; "draining: false" in the file that you apply, ` +
	`or "berthctl rollback", takes the pool back into use`

func inUse(use config.PoolUse) int { return use.Blocks + use.Assignments + use.Attached }

func useWords(use config.PoolUse) string {
	return fmt.Sprintf("addresses of containers: %d, blocks of nodes: %d", use.Assignments+use.Attached, use.Blocks)
}
