package routes

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/internal/task"
)

const (
	gather    = 3 * time.Millisecond // for which changes are gathered
	lookEvery = time.Minute          // without an event
	lookPause = time.Second          // between two comparisons that events of the kernel, or failures, ask for
)

// Run changes routes at each change of what they depend on, and compares all of them at the kernel's events, and once a minute.
func (k *Keeper) Run(ctx context.Context) error {
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.news:
			task.Pause(ctx, gather)
		case <-k.host:
			look.Reset(max(0, lookPause-time.Since(looked)))
			continue
		case <-look.C:
			looked = time.Now()
			look.Reset(lookEvery)
			k.known.compare()
		}
		_, _ = k.program() // a failure is a finding, and has it done again
	}
}

// ensurePoll is the interval at which Ensure looks whether the records are known by now.
const ensurePoll = 10 * time.Millisecond

// Ensure sees that the host routes for a pool before a container of it is answered: it waits until the records are known, as they are soon
// after the agent's start, and until the routes are there. It costs nothing where they are. Pools that are not routed need none.
func (k *Keeper) Ensure(ctx context.Context, pool string) error {
	for {
		p, known := k.Config().Pools[pool]
		if !known || !p.Layer3() || k.serves(pool) {
			return nil
		}
		if _, err := k.program(); err != nil {
			return err
		}
		if k.serves(pool) {
			return nil
		}
		if err := task.Pause(ctx, ensurePoll); err != nil {
			return fmt.Errorf("agent: the routes of pool %q: what other nodes have of it is not known yet: %w", pool, err)
		}
	}
}

// serves reports whether a pool is among what was set.
func (k *Keeper) serves(pool string) bool {
	k.setting.RLock()
	defer k.setting.RUnlock()
	is, set := k.set[pool]
	want := poolsOf(k.Config())
	return k.stands && set && is.equal(want[pool])
}
