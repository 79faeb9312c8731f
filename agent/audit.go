package agent

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/admin"
)

const (
	auditEvery = 15 * time.Second // how often the records are read through that nobody follows
	auditShare = 20               // and at most one part in so many of one agent's time goes into it
	auditTells = 100              // how many damaged records become findings
)

// audit reads through all of etcd's records and tells of those that cannot be read: nobody follows the assignments, the
// identities, the history and what nobody knows. One agent does it for all; who joins later comes upon them in its turn.
func (a *Agent) audit(ctx context.Context) error {
	wait := auditEvery
	for ctx.Err() == nil {
		task.Pause(ctx, wait)
		wait = auditEvery
		if !a.absences.first(a.Node) {
			a.tellBad("audit", nil)
			continue
		}
		began := time.Now()
		bad, err := admin.Audit(ctx, a.store.KV, auditTells)
		if err != nil {
			a.Log.Debug("cannot look for damaged records now", zap.Error(err))
			continue
		}
		a.tellBad("audit", bad)
		wait = max(auditEvery, auditShare*time.Since(began))
	}
	return nil
}
