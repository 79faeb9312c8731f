package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// ErrWithdrawn says that a question is not there any more: nobody waits for its answer.
var ErrWithdrawn = errors.New("lease: the question was withdrawn")

// FollowRequests calls f with each question that is asked, once, until ctx ends; its error is ctx's.
func FollowRequests(ctx context.Context, c *kv.Client, f func(record.ReportRequest)) error {
	type asked struct {
		revision    int64
		incarnation int
	}
	seen := map[string]asked{}
	slots := make([]string, requestSlots)
	for n := range slots {
		slots[n] = c.Keys.Question(strconv.Itoa(n + 1))
	}
	return c.FollowKeys(ctx, slots, func(_ string, kv *mvccpb.KeyValue, incarnation int) {
		if kv == nil {
			return
		}
		q, err := record.QuestionCodec.Read(c.Keys, kv)
		if now := (asked{q.Revision, incarnation}); err == nil && seen[q.Slot] != now {
			seen[q.Slot], q.Lease = now, kv.Lease
			f(q)
		}
	})
}

// Report writes what the node holds, for as long as the question is there. What would be too much for etcd is counted.
// It fails with ErrWithdrawn where nobody waits any more, with session.ErrLost or session.ErrReplaced.
func Report(ctx context.Context, x *session.Session, q record.ReportRequest, a record.NodeReport) error {
	if err := report(ctx, x, q, a); err != nil {
		return fmt.Errorf("lease: answer for node %q: %w", x.Name(), err)
	}
	return nil
}

func report(ctx context.Context, x *session.Session, q record.ReportRequest, a record.NodeReport) error {
	keys := x.KV().Keys
	a.Node, a.Slot, a.Generation, a.Started = "", "", x.Generation(), x.Node().Started
	t := x.Fenced("answer")
	t.IfUnchanged(keys.Question(q.Slot), q.Revision, ErrWithdrawn)
	t.Then(clientv3.OpPut(keys.Answer(q.Slot, x.Name()), a.Text(), clientv3.WithLease(clientv3.LeaseID(q.Lease))))
	err := x.KV().Require(ctx, t)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return ErrWithdrawn
	}
	return err
}
