package session

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Now is the time since boot by which the store's rights count.
func (s *Store) Now() time.Duration { return s.kv.Clock.Boot() }

func (s *Store) Entrant(me record.Node, lease clientv3.LeaseID) *Session { return s.entrant(me, lease) }

func (x *Session) Enter(ctx context.Context, n int, b Registration) (bool, error) {
	return x.enter(ctx, n, b)
}

func (x *Session) Judge(t *kv.Txn) { x.judge(t) }

func (s *Store) RewriteCluster(ctx context.Context, revision int64, next record.Cluster) error {
	return s.rewriteCluster(ctx, revision, next)
}
