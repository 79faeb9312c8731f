// Package publish writes to etcd what the journal records: the assignments of stateless addresses, the node's status, and
// detachments of reservations.
package publish

import (
	"context"

	"github.com/berth-ipam/berth/internal/task"
)

// Run publishes, until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	return task.All(ctx, p.publishAll, p.detachAll, p.reapOrphans)
}
