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

// rejoin spaces the tries to join the cluster, and says of them only what is new.
type rejoin struct {
	logged string
	pause  time.Duration
}

// failed waits until the next try. Where etcd is away it is soon, since it may be back at any time; where it refuses this node, or a
// member of it is too old, only a person can mend it, and the waits grow.
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
