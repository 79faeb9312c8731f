package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
)

// etcdAccess is the kind of finding about what etcd refuses this node.
const etcdAccess = "etcd-access"

// hearAccess keeps what etcd refuses as a finding for as long as it does.
func (a *Agent) hearAccess(what string, err error) {
	if err == nil {
		a.findings.Clear(etcdAccess, what)
		return
	}
	advice := fmt.Sprintf("give the user of --etcd-user the role that docs/etcd.md shows, for the keys under %s; the agent tries "+
		"again by itself", cmp.Or(a.Etcd.Prefix, kv.DefaultPrefix))
	if what == kv.TheUser {
		advice = "see that --etcd-user and the content of --etcd-password-file are what etcd knows; the file is read again at the next try"
	}
	a.findings.Set(etcdAccess, what, fmt.Sprintf("etcd refuses it: %v", err), advice)
}

// Bounds of the pause before the cluster is joined again.
const (
	firstJoin = time.Second
	lastJoin  = 30 * time.Second
)

// rejoin spaces the tries to join the cluster, and says of them only what is new.
type rejoin struct {
	said  string
	pause time.Duration
}

// failed waits until the next try. Where etcd is away it is soon, since it may be back at any time; where it refuses this node, or a
// member of it is too old, only a person can mend it, and the waits grow.
func (r *rejoin) failed(ctx context.Context, log *zap.Logger, err error) {
	if words := err.Error(); words != r.said {
		r.said = words
		log.Warn("cannot join the cluster by etcd; trying again", zap.Error(err))
	}
	_, old := errors.AsType[*kv.ReleaseError](err)
	if !old && !kv.Refused(err) {
		r.pause = 0
	}
	r.pause = min(max(2*r.pause, firstJoin), lastJoin)
	task.Pause(ctx, r.pause)
}
