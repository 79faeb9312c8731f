package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"go.uber.org/zap"
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

// meet finds out where etcd stands. What was learned in another life of its is forgotten; what journal, kernel and
// allocator hold is not.
func (a *Agent) meet(ctx context.Context) (lease.Standing, error) {
	known := a.journal.Cluster()
	standing, err := a.store.Meet(ctx, a.Node, a.Machine, lease.Past{Cluster: known.ID, Life: known.Life, Generation: known.Generation})
	if _, foreign := errors.AsType[*lease.ClusterError](err); foreign {
		return standing, &foreignClusterError{err, a.Options.journal()}
	}
	if err == nil && standing.New {
		a.Log.Warn("etcd was restored or made anew", zap.String("cluster", standing.Cluster))
		a.beginAnew()
	}
	return standing, err
}

// beginAnew drops all that is only known from etcd.
func (a *Agent) beginAnew() {
	a.gate.Lock()
	defer a.gate.Unlock()
	a.config.Store(&lease.Config{Settings: a.config.Load().Settings})
	a.blocks.reset()
	a.absences.reset()
	a.lagging.reset()
}

// A recovery is the time that this node gives to all others to assert what they hold, after etcd was restored.
type recovery struct {
	mu      sync.Mutex
	cluster string
	life    int64
	began   time.Time // by CLOCK_MONOTONIC
	longest time.Duration
}

// left is how long the recovery lasts yet. It begins with the first meeting of an etcd and a life of the state in it.
// Right is the longest that is known by now: it counts even when it is no longer to be seen. Without a configuration
// nobody can assert anything, and the time does not begin.
func (r *recovery) left(s lease.Standing, right time.Duration, configured bool) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cluster != s.Cluster || r.life != s.Life || !configured {
		r.cluster, r.life, r.began, r.longest = s.Cluster, s.Life, time.Now(), 0
	}
	r.longest = max(r.longest, right)
	return afterRight(r.longest) - time.Since(r.began)
}

// lasts is for how long the recovery has lasted; without one, for no time.
func (r *recovery) lasts() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began.IsZero() {
		return 0
	}
	return time.Since(r.began)
}

// afterRight is how long somebody waits for a right to have run out for certain: a tenth longer than it lasts, since
// two clocks never go at quite the same speed.
func afterRight(right time.Duration) time.Duration { return right + right/10 }

// recoverCluster accepts the state as that of the etcd which answers, once whatever nobody has asserted is nobody's.
func (a *Agent) recoverCluster(ctx context.Context, standing lease.Standing) {
	a.Log.Warn("etcd was restored: nothing new is given until every node has had the time to assert what it holds",
		zap.Duration("longest right", a.longestRight()))
	for ctx.Err() == nil {
		left := a.recoveryLeft(standing)
		if left <= 0 {
			err := a.store.AcceptCluster(ctx, standing)
			if err == nil {
				return // the session ends with it
			}
			a.Log.Warn("cannot accept the restored etcd yet", zap.Error(err))
			left = time.Second
		}
		pause(ctx, min(left, time.Second))
	}
}

// recoveryLeft is how long a recovery lasts yet.
func (a *Agent) recoveryLeft(standing lease.Standing) time.Duration {
	return a.recovery.left(standing, a.longestRight(), len(a.config.Load().Pools) > 0)
}

// longestRight is the longest one that a node of the cluster may have.
func (a *Agent) longestRight() time.Duration {
	settings := a.config.Load().Settings
	return max(time.Duration(settings.AddressLease), a.absences.longestRight(allocator.Stateless),
		time.Duration(settings.Session), a.absences.longestRight(allocator.Stateful), a.rights.Longest())
}
