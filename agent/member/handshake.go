package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

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

// Handshake reads the state of the etcd cluster. If the store is another incarnation, it calls OnStoreReset.
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

// OnStoreReset drops what is known only from etcd. Journal, kernel and allocator keep what they hold. No watch delivers an update
// meanwhile, so that none of the former incarnation, whose revisions may be higher, comes later.
func (k *Keeper) OnStoreReset(standing session.ClusterState) {
	k.Log.Warn("etcd was restored or made anew", zap.String("cluster", standing.Cluster))
	if standing.Recovering {
		k.RecoveryLeft(standing) // it begins with the rights that are known of the lost history
	}
	k.Reset()
}

// recoverCluster accepts the restored state once the recovery is over: what no node has asserted has no owner.
func (k *Keeper) recoverCluster(ctx context.Context, standing session.ClusterState) {
	least, _ := k.RecoveryLeft(standing)
	k.Log.Warn("etcd was restored: nothing new is given until every node has had the time to assert what it holds",
		zap.Duration("atLeast", least))
	for ctx.Err() == nil {
		left, begun := k.RecoveryLeft(standing)
		if !begun {
			k.ReportRecoveryWaits()
			task.Pause(ctx, time.Second)
			continue
		}
		k.ReportRecovery(max(left, 0))
		if left <= 0 {
			err := k.Store.Sessions.AcceptCluster(ctx, standing)
			if err == nil {
				return // the session ends too
			}
			k.Log.Warn("cannot accept the restored etcd yet", zap.Error(err))
			left = time.Second
		}
		task.Pause(ctx, min(left, time.Second))
	}
}

// RecoveryLeft is how long a recovery still lasts, and whether its time has begun.
func (k *Keeper) RecoveryLeft(standing session.ClusterState) (left time.Duration, begun bool) {
	return k.Recovery.left(standing, k.LongestRights(), len(k.Config().Pools) > 0)
}
