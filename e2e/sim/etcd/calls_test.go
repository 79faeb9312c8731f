package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
)

// A subject is an etcd and a way to it that calls are made on. What a call comes to is a text, the same on any etcd.
type subject struct {
	kv.Etcd
	raw    func() *clientv3.Client        // beside the way
	faults map[string]func() (end func()) // of the way
	stop   func()                         // ends etcd
	start  func() error                   // starts it again
	leases []clientv3.LeaseID             // by the order in which they were granted
	now    int64                          // the highest revision that an answer had
	ctx    context.Context
}

// patience is how long a call is waited for that gets no answer.
const patience = 200 * time.Millisecond

// kindOf is what an error means to the product.
func kindOf(err error) string {
	var refused rpctypes.EtcdError
	switch {
	case err == nil:
		return "well"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case kv.Unavailable(err):
		return "no answer"
	case kv.Refused(err):
		return "refused"
	case errors.As(err, &refused):
		return refused.Error()
	}
	return "an error of no kind: " + err.Error()
}

func (s *subject) calls() map[string]func(*rand.Rand) string {
	return map[string]func(*rand.Rand) string{
		"get":      func(r *rand.Rand) string { return s.get(s.ctx, r) },
		"txn":      func(r *rand.Rand) string { return s.txn(s.ctx, r) },
		"txn more": func(r *rand.Rand) string { return s.txn(s.ctx, r) },
		"lease":    func(r *rand.Rand) string { return s.lease(s.ctx, r) },
		"grant":    func(*rand.Rand) string { return s.grant(s.ctx) },
		"compact":  s.compact,
		"watch":    s.watch,
		"status":   func(*rand.Rand) string { return s.status(s.ctx) },
		"give up":  s.givenUp,
		"hang":     s.hung,
		"cut":      s.cut,
		"lost":     s.lost,
		"restart":  s.restarted,
		"large":    s.large,
	}
}

func key(r *rand.Rand) string { return fmt.Sprint("/k", r.IntN(6)) }

// sees takes in the revision of an answer.
func (s *subject) sees(h *pb.ResponseHeader) int64 {
	s.now = max(s.now, h.GetRevision())
	return h.GetRevision()
}

func (s *subject) pairs(all []*mvccpb.KeyValue) string {
	var text strings.Builder
	for _, p := range all {
		lease := -1
		for i, id := range s.leases {
			if int64(id) == p.Lease {
				lease = i
			}
		}
		value := string(p.Value)
		if len(value) > 20 {
			value = fmt.Sprint(len(value), " bytes")
		}
		fmt.Fprintf(&text, " %s=%s[%d %d %d %d]", p.Key, value, p.CreateRevision, p.ModRevision, p.Version, lease)
	}
	return text.String()
}

func (s *subject) get(ctx context.Context, r *rand.Rand) string {
	at := key(r)
	var how []clientv3.OpOption
	switch r.IntN(6) {
	case 0:
		at, how = "/k", append(how, clientv3.WithPrefix(), clientv3.WithLimit(int64(r.IntN(4))))
	case 1:
		how = append(how, clientv3.WithRev(1+r.Int64N(s.now+3)))
	case 2:
		at, how = "/k", append(how, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	case 3:
		how = append(how, clientv3.WithSerializable())
	}
	a, err := s.Etcd.Get(ctx, at, how...)
	if err != nil {
		return kindOf(err)
	}
	return fmt.Sprintf("%d:%s of %d, more %v", s.sees(a.Header), s.pairs(a.Kvs), a.Count, a.More)
}

func (s *subject) compare(r *rand.Rand) clientv3.Cmp {
	switch at := key(r); r.IntN(4) {
	case 0:
		return kv.Absent(at)
	case 1:
		return kv.Present(at)
	case 2:
		return clientv3.Compare(clientv3.Value(at), "=", fmt.Sprint(r.IntN(3)))
	default:
		return kv.Unchanged(at, r.Int64N(s.now+1))
	}
}

// op is one of a transaction's. Two that write one key are etcd's to refuse.
func (s *subject) op(r *rand.Rand, depth int) clientv3.Op {
	switch n := r.IntN(10); {
	case n < 5:
		var how []clientv3.OpOption
		switch lease := r.IntN(12); {
		case lease == 0:
			how = append(how, clientv3.WithLease(12345)) // nobody was granted it
		case lease < 4 && len(s.leases) > 0:
			how = append(how, clientv3.WithLease(s.leases[r.IntN(len(s.leases))]))
		}
		return clientv3.OpPut(key(r), fmt.Sprint(r.IntN(3)), how...)
	case n < 7:
		return clientv3.OpDelete(key(r))
	case n < 8 && depth == 0:
		return clientv3.OpTxn([]clientv3.Cmp{s.compare(r)}, s.ops(r, 1), s.ops(r, 1))
	case n < 9:
		return clientv3.OpGet("/k", clientv3.WithPrefix())
	default:
		return clientv3.OpGet(key(r))
	}
}

func (s *subject) ops(r *rand.Rand, depth int) (ops []clientv3.Op) {
	for range r.IntN(4) {
		ops = append(ops, s.op(r, depth))
	}
	return ops
}

func (s *subject) txn(ctx context.Context, r *rand.Rand) string {
	var compares []clientv3.Cmp
	for range r.IntN(3) {
		compares = append(compares, s.compare(r))
	}
	then, otherwise := s.ops(r, 0), s.ops(r, 0)
	if r.IntN(20) == 0 {
		for i := range kv.MaxOps + 1 {
			then = append(then, clientv3.OpPut(fmt.Sprint("/many", i), ""))
		}
	}
	a, err := s.Txn(ctx).If(compares...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		return kindOf(err)
	}
	return fmt.Sprintf("%d: %v%s", s.sees(a.Header), a.Succeeded, s.responses(a.Responses))
}

func (s *subject) responses(all []*pb.ResponseOp) string {
	var text strings.Builder
	for _, a := range all {
		switch {
		case a.GetResponseRange() != nil:
			fmt.Fprintf(&text, " (%s)", s.pairs(a.GetResponseRange().Kvs))
		case a.GetResponseDeleteRange() != nil:
			fmt.Fprintf(&text, " deleted %d", a.GetResponseDeleteRange().Deleted)
		case a.GetResponseTxn() != nil:
			fmt.Fprintf(&text, " {%v%s}", a.GetResponseTxn().Succeeded, s.responses(a.GetResponseTxn().Responses))
		default:
			text.WriteString(" put")
		}
	}
	return text.String()
}

func (s *subject) grant(ctx context.Context) string {
	a, err := s.Grant(ctx, 1000)
	if err != nil {
		return kindOf(err)
	}
	s.leases = append(s.leases, a.ID)
	return fmt.Sprint(a.TTL)
}

// lease is a call about one that was granted, or that never was.
func (s *subject) lease(ctx context.Context, r *rand.Rand) string {
	id := clientv3.LeaseID(12345)
	if n := r.IntN(len(s.leases) + 1); n < len(s.leases) {
		id = s.leases[n]
	}
	switch r.IntN(5) {
	case 0:
		a, err := s.Revoke(ctx, id)
		if err != nil {
			return "revoke: " + kindOf(err)
		}
		return fmt.Sprint("revoked at ", s.sees(a.Header))
	case 1, 2:
		a, err := s.TimeToLive(ctx, id)
		if err != nil {
			return "time to live: " + kindOf(err)
		}
		return fmt.Sprintf("lives %v of %d", a.TTL > 0, a.GrantedTTL)
	}
	return s.renew(ctx, id)
}

func (s *subject) renew(ctx context.Context, id clientv3.LeaseID) string {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Renewals(within)
	if err == nil {
		err = stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)})
	}
	var a *pb.LeaseKeepAliveResponse
	if err == nil {
		a, err = stream.Recv()
	}
	if err != nil {
		return "renew: " + kindOf(cmp.Or(ctx.Err(), rpctypes.Error(err))) // as kv.Renewal takes it
	}
	return fmt.Sprintf("renewed %v, its own %v", a.TTL > 0, a.ID == int64(id))
}

func (s *subject) status(ctx context.Context) string {
	a, err := s.Status(ctx, "http://192.0.2.1:2379")
	users, otherwise := s.AuthStatus(ctx)
	if err != nil || otherwise != nil {
		return kindOf(err) + ", " + kindOf(otherwise)
	}
	return fmt.Sprint(a.Version, users.Enabled)
}

// large is a value that etcd takes, or does not.
func (s *subject) large(r *rand.Rand) string {
	_, err := s.Txn(s.ctx).Then(clientv3.OpPut("/large", strings.Repeat("x", 1<<20*(1+r.IntN(2))-1000))).Commit()
	a, again := s.Etcd.Get(s.ctx, "/large")
	if again != nil {
		return kindOf(again)
	}
	return fmt.Sprintf("%s, %d: %s", kindOf(err), s.sees(a.Header), s.pairs(a.Kvs))
}
