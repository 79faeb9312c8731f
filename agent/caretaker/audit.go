package caretaker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/admin"
)

// A Caretaker does what one node of the cluster does for all.
type Caretaker struct{ *node.Node }

// New makes a node's caretaker.
func New(n *node.Node) *Caretaker { return &Caretaker{n} }

const (
	auditEvery = 15 * time.Second // how often the records that no agent follows are read
	auditShare = 20               // at most one part in so many of the agent's time goes into it
	auditTells = 100              // how many damaged records become findings
)

// audit reads all of etcd's records and reports the unreadable ones: no agent follows the assignments, the identities, the
// history and unknown keys. One agent does it for all; one that joins later finds them in its turn.
func (c *Caretaker) audit(ctx context.Context) error {
	wait := auditEvery
	for ctx.Err() == nil {
		task.Pause(ctx, wait)
		wait = auditEvery
		if !c.Absences.First(c.Name) {
			c.ReportDamagedBy("audit", nil)
			continue
		}
		began := time.Now()
		bad, err := admin.Audit(ctx, c.Store.KV, auditTells)
		if err != nil {
			c.Log.Debug("cannot look for damaged records now", zap.Error(err))
			continue
		}
		c.ReportDamagedBy("audit", bad)
		wait = max(auditEvery, auditShare*time.Since(began))
	}
	return nil
}
