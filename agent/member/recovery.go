package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
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

// Handshake finds out where etcd stands. Where another life of its has begun, the store calls beginAnew meanwhile.
func (k *Keeper) Handshake(ctx context.Context) (session.ClusterState, error) {
	known := k.Journal.Cluster()
	standing, err := k.Store.Sessions.Handshake(ctx, k.Name, k.Machine, session.Past{Cluster: known.ID, Incarnation: known.Life,
		Generation: known.Generation})
	if _, foreign := errors.AsType[*session.ClusterError](err); foreign {
		return standing, &foreignClusterError{err, k.Journal.Path()}
	}
	if err == nil && standing.Recovering && !standing.New {
		k.RecoveryLeft(standing)
	}
	return standing, err
}

// OnStoreReset drops all that is only known from etcd. What journal, kernel and allocator hold stays. No follower brings anything
// in meanwhile, so that no word of the former life comes later, with revisions which the words of this one do not reach.
func (k *Keeper) OnStoreReset(standing session.ClusterState) {
	k.Log.Warn("etcd was restored or made anew", zap.String("cluster", standing.Cluster))
	if standing.Recovering {
		k.RecoveryLeft(standing) // it begins by what is known of the history that is lost
	}
	k.Reset()
}

// A recovery is the time that this node gives to all others to assert what they hold, after etcd was restored.
type recovery struct {
	mu          lockorder.Subject
	cluster     string
	incarnation int64
	Began       time.Time                         // by CLOCK_MONOTONIC
	Longest     map[allocator.Class]time.Duration // the longest right that any node may have, or have had
}

// left is how long the recovery lasts yet. It begins with the first meeting of an etcd and a life of the state in it.
// Rights are the longest that are known by now: they count even when they are no longer to be seen, since what etcd has lost
// may tell of longer ones than what it has got back. Without a configuration nobody can assert anything, and the time does
// not begin.
func (r *recovery) left(s session.ClusterState, rights map[allocator.Class]time.Duration, configured bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cluster != s.Cluster || r.incarnation != s.Incarnation {
		r.cluster, r.incarnation, r.Longest = s.Cluster, s.Incarnation, map[allocator.Class]time.Duration{}
		r.Began = time.Now()
	}
	if !configured {
		r.Began = time.Now()
	}
	all := time.Duration(0)
	for class, right := range rights {
		r.Longest[class] = max(r.Longest[class], right)
		all = max(all, r.Longest[class])
	}
	return ipam.WaitOut(all) - time.Since(r.Began)
}

// over reports whether the recovery has lasted for so long that every right over a class which began before it has run out.
func (r *recovery) over(class allocator.Class) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.Began.IsZero() && time.Since(r.Began) > ipam.WaitOut(r.Longest[class])
}

// recoverCluster accepts the state as that of the etcd which answers, once whatever nobody has asserted is nobody's.
func (k *Keeper) recoverCluster(ctx context.Context, standing session.ClusterState) {
	k.Log.Warn("etcd was restored: nothing new is given until every node has had the time to assert what it holds",
		zap.Duration("for", k.RecoveryLeft(standing)))
	for ctx.Err() == nil {
		left := k.RecoveryLeft(standing)
		k.ReportRecovery(max(left, 0))
		if left <= 0 {
			err := k.Store.Sessions.AcceptCluster(ctx, standing)
			if err == nil {
				return // the session ends with it
			}
			k.Log.Warn("cannot accept the restored etcd yet", zap.Error(err))
			left = time.Second
		}
		task.Pause(ctx, min(left, time.Second))
	}
}

// RecoveryLeft is how long a recovery lasts yet.
func (k *Keeper) RecoveryLeft(standing session.ClusterState) time.Duration {
	return k.Recovery.left(standing, k.LongestRights(), len(k.Config().Pools) > 0)
}
