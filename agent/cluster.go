package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// A foreignClusterError says that the journal's containers belong to another etcd cluster.
type foreignClusterError struct {
	error
	path string
}

func (e *foreignClusterError) Error() string {
	return fmt.Sprintf("agent: %v: give the former endpoints, or end this node's containers and move the journal %s away", e.error, e.path)
}

func (e *foreignClusterError) Unwrap() error { return e.error }

// meet finds out where etcd stands. Where another life of its has begun, the store calls beginAnew meanwhile.
func (a *Agent) meet(ctx context.Context) (session.ClusterState, error) {
	known := a.journal.Cluster()
	standing, err := a.store.Sessions.Handshake(ctx, a.Node, a.Machine, session.Past{Cluster: known.ID, Incarnation: known.Life,
		Generation: known.Generation})
	if _, foreign := errors.AsType[*session.ClusterError](err); foreign {
		return standing, &foreignClusterError{err, a.Options.journal()}
	}
	if err == nil && standing.Recovering && !standing.New {
		a.recoveryLeft(standing)
	}
	return standing, err
}

// beginAnew drops all that is only known from etcd. What journal, kernel and allocator hold stays. No follower brings anything
// in meanwhile, so that no word of the former life comes later, with revisions which the words of this one do not reach.
func (a *Agent) beginAnew(standing session.ClusterState) {
	a.Log.Warn("etcd was restored or made anew", zap.String("cluster", standing.Cluster))
	if standing.Recovering {
		a.recoveryLeft(standing) // it begins by what is known of the history that is lost
	}
	a.gate.Exclusive(func() {
		a.gate.OutliveLocked()
		a.asserted = nil
		a.config.Store(&config.Config{Settings: a.config.Load().Settings})
		a.blocks.reset()
		a.absences.reset()
		a.lagging.reset()
	})
}

// classes are both.
var classes = []allocator.Class{allocator.Stateless, allocator.Stateful}

// A recovery is the time that this node gives to all others to assert what they hold, after etcd was restored.
type recovery struct {
	mu      sync.Mutex
	cluster string
	life    int64
	began   time.Time                         // by CLOCK_MONOTONIC
	longest map[allocator.Class]time.Duration // the longest right that any node may have, or have had
}

// left is how long the recovery lasts yet. It begins with the first meeting of an etcd and a life of the state in it.
// Rights are the longest that are known by now: they count even when they are no longer to be seen, since what etcd has lost
// may tell of longer ones than what it has got back. Without a configuration nobody can assert anything, and the time does
// not begin.
func (r *recovery) left(s session.ClusterState, rights map[allocator.Class]time.Duration, configured bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cluster != s.Cluster || r.life != s.Incarnation {
		r.cluster, r.life, r.longest = s.Cluster, s.Incarnation, map[allocator.Class]time.Duration{}
		r.began = time.Now()
	}
	if !configured {
		r.began = time.Now()
	}
	all := time.Duration(0)
	for class, right := range rights {
		r.longest[class] = max(r.longest[class], right)
		all = max(all, r.longest[class])
	}
	return ipam.WaitOut(all) - time.Since(r.began)
}

// over reports whether the recovery has lasted for so long that every right over a class which began before it has run out.
func (r *recovery) over(class allocator.Class) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.began.IsZero() && time.Since(r.began) > ipam.WaitOut(r.longest[class])
}

// recoverCluster accepts the state as that of the etcd which answers, once whatever nobody has asserted is nobody's.
func (a *Agent) recoverCluster(ctx context.Context, standing session.ClusterState) {
	a.Log.Warn("etcd was restored: nothing new is given until every node has had the time to assert what it holds",
		zap.Duration("for", a.recoveryLeft(standing)))
	for ctx.Err() == nil {
		left := a.recoveryLeft(standing)
		a.tellRecovery(max(left, 0))
		if left <= 0 {
			err := a.store.Sessions.AcceptCluster(ctx, standing)
			if err == nil {
				return // the session ends with it
			}
			a.Log.Warn("cannot accept the restored etcd yet", zap.Error(err))
			left = time.Second
		}
		task.Pause(ctx, min(left, time.Second))
	}
}

// recoveryLeft is how long a recovery lasts yet.
func (a *Agent) recoveryLeft(standing session.ClusterState) time.Duration {
	return a.recovery.left(standing, a.longestRights(), len(a.config.Load().Pools) > 0)
}

// longestRights are the longest ones that a node of the cluster may have, by what this one knows.
func (a *Agent) longestRights() map[allocator.Class]time.Duration {
	all := map[allocator.Class]time.Duration{}
	for _, class := range classes {
		all[class] = max(a.absences.longestRight(class), a.rights.Duration(class))
		if c := a.config.Load(); c.Revision > 0 { // else they are not the cluster's
			all[class] = max(all[class], rightOf(record.Node{Session: c.Settings.Session, AddressLease: c.Settings.AddressLease}, class))
		}
	}
	return all
}
