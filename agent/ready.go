package agent

import (
	"fmt"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// statusOf is CNI STATUS (CNI specification 1.1.0, "STATUS"): whether an ADD of the pool can be served now. It asks
// nobody; everything is known.
func (a *Agent) statusOf(r *wire.Request) error {
	if err := a.ready(); err != nil {
		return wire.Errorf(wire.CodeUnavailable, "%v", err)
	}
	if n := a.journal.Isolated(); n > 0 {
		return wire.Errorf(wire.CodeDegraded, "%d containers of this node are isolated, since their addresses are others' now: see /metrics and the agent's log", n)
	}
	name := r.Pool
	if name == "" {
		name = "default"
	}
	pool, _, err := a.pool(name)
	if err != nil {
		return wire.Errorf(wire.CodeUnavailable, "%v", err)
	}
	for _, f := range pool.Families() {
		c := a.pools.counts(spaceKey{name, f})
		if _, more := pool.PickBlock(f, 0, a.blocks.used(pool)); c.Free+c.Released+c.Quarantined == 0 && !more {
			return wire.Errorf(wire.CodeUnavailable, "pool %q is exhausted: this node has no free address in it, and every block has an owner", name)
		}
	}
	return nil
}

// ready says why nothing can be handed out, or nil.
func (a *Agent) ready() error {
	if reason := a.waiting.Load(); reason != nil {
		return fmt.Errorf("%s", *reason)
	}
	if a.rights.Left(allocator.Stateless) <= 0 {
		return fmt.Errorf("etcd has not been reached for longer than the address lease lasts")
	}
	if err := a.journal.Room(); err != nil {
		return fmt.Errorf("new ADDs are refused, all else goes on: %w", err)
	}
	return nil
}
