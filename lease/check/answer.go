package check

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// ErrWithdrawn says that a check is over: nobody waits for the answer.
var ErrWithdrawn = errors.New("lease: the check is over")

// Follow calls f with the check that is asked for, also when its peers are told, and with nil when there is none, until ctx ends; its
// error is ctx's. One that cannot be read changes nothing: it ends with its lease.
func Follow(ctx context.Context, c *kv.Client, f func(*record.Check)) error {
	return c.FollowKeys(ctx, []string{c.Keys.Check()}, func(_ string, kv *mvccpb.KeyValue, _ int) {
		if kv == nil {
			f(nil)
			return
		}
		if q, err := record.CheckCodec.Read(c.Keys, kv); err == nil {
			q.Lease = kv.Lease
			f(&q)
		}
	})
}

// Answer writes what a node has done for a check. It fails with ErrWithdrawn where the check is over, with session.ErrLost or
// session.ErrReplaced.
func Answer(ctx context.Context, x *session.Session, q *record.Check, a record.CheckAnswer) error {
	a.Node, a.ID, a.Generation = "", q.ID, x.Generation()
	t := x.Fenced("answer a check")
	t.Then(kv.Put(x.KV().Keys.CheckAnswer(x.Name()), a, clientv3.WithLease(clientv3.LeaseID(q.Lease))))
	err := x.KV().Require(ctx, t)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return ErrWithdrawn
	}
	if err != nil {
		return fmt.Errorf("lease: answer a check for node %q: %w", x.Name(), err)
	}
	return nil
}
