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
	handle := func(kv *mvccpb.KeyValue, incarnation int) {
		q, err := record.QuestionCodec.Read(c.Keys, kv)
		if now := (asked{q.Revision, incarnation}); err == nil && seen[q.Slot] != now {
			seen[q.Slot], q.Lease = now, kv.Lease
			f(q)
		}
	}
	return c.EachIncarnation(ctx, func(ctx context.Context, incarnation int) {
		within := func(kv *mvccpb.KeyValue) { c.Incarnation.Within(ctx, incarnation, func() { handle(kv, incarnation) }) }
		if revision, err := readRequests(ctx, c, within); err == nil {
			watchRequests(ctx, c, revision, within)
		}
	})
}

// readRequests gives f all that is asked now, and the revision that it was read at.
func readRequests(ctx context.Context, c *kv.Client, handle func(*mvccpb.KeyValue)) (int64, error) {
	t := kv.Transact("read questions")
	questions := make([]*kv.Read, requestSlots)
	for n := range questions {
		questions[n] = t.Else(c.Keys.Question(strconv.Itoa(n + 1)))
	}
	if err := c.Query(ctx, kv.CallTime, t); err != nil {
		return 0, err
	}
	for _, q := range questions {
		for _, kv := range q.KVs {
			handle(kv)
		}
	}
	return t.Revision(), nil
}

// watchRequests returns when one of the watches or ctx ends.
func watchRequests(ctx context.Context, c *kv.Client, revision int64, handle func(*mvccpb.KeyValue)) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	responses := make(chan clientv3.WatchResponse)
	for n := range requestSlots {
		watch := client.Watch(ctx, c.Keys.Question(strconv.Itoa(n+1)), clientv3.WithRev(revision+1))
		go func() {
			defer cancel()
			for response := range watch {
				select {
				case responses <- response:
				case <-ctx.Done():
				}
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case response := <-responses:
			if response.Err() != nil {
				return
			}
			for _, e := range response.Events {
				if e.Type == mvccpb.PUT {
					handle(e.Kv)
				}
			}
		}
	}
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
