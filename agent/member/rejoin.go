package member

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
)

// Bounds of the pause before the cluster is joined again.
const (
	firstJoin = time.Second
	lastJoin  = 30 * time.Second
)

// rejoin spaces the attempts to join the cluster, and logs an error only when it changes.
type rejoin struct {
	logged string
	pause  time.Duration
}

// failed waits until the next attempt. The wait is short where etcd is unreachable, since it may return at any time. It grows
// where etcd refuses this node or is too old, because only an operator can resolve that.
func (r *rejoin) failed(ctx context.Context, log *zap.Logger, err error) {
	if words := err.Error(); words != r.logged {
		r.logged = words
		log.Warn("cannot join the cluster by etcd; trying again", zap.Error(err))
	}
	_, old := errors.AsType[*kv.ReleaseError](err)
	if !old && !kv.Refused(err) {
		r.pause = 0
	}
	r.pause = min(max(2*r.pause, firstJoin), lastJoin)
	task.Pause(ctx, r.pause)
}
