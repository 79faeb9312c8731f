// Package caretaker does what one node of the cluster does for all: it finds damaged records, ends reservations whose pool's
// retain time is over, and frees former gateways.
package caretaker

import (
	"context"

	"github.com/berth-ipam/berth/internal/task"
)

// Run does it, until ctx ends.
func (c *Caretaker) Run(ctx context.Context) error {
	return task.All(ctx, c.audit, c.endRetained, c.freeFormer)
}
