package etcd

import (
	"context"
	"io"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/berth-ipam/berth/lease/kv"
)

// connection is one process's client. It is a kv.Network and a kv.Etcd.
type connection struct {
	way  *Way
	seam func(string)
}

// Connect is kv.Network's.
func (p *connection) Connect(string) (kv.Etcd, error) { return p, nil }

// Reach is kv.Network's.
func (p *connection) Reach(ctx context.Context) error {
	_, err := p.Status(ctx, "")
	return err
}

// Close is kv.Etcd's.
func (p *connection) Close() error { return nil }

// Get is kv.Etcd's.
func (p *connection) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return ask(ctx, p, "get "+key, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		condition, _ := p.way.Condition()
		switch {
		case condition.Deny:
			return nil, rpctypes.ErrPermissionDenied
		case condition.Frozen > 0:
			r, err := c.Get(ctx, key, append(o, clientv3.WithRev(condition.Frozen))...)
			if err == nil {
				r.Header.Revision = condition.Frozen
			}
			return r, err
		}
		return c.Get(ctx, key, o...)
	})
}

// Grant is kv.Etcd's.
func (p *connection) Grant(ctx context.Context, seconds int64) (*clientv3.LeaseGrantResponse, error) {
	return ask(ctx, p, "grant", func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseGrantResponse, error) {
		return c.Grant(ctx, seconds)
	})
}

// Revoke is kv.Etcd's.
func (p *connection) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	return ask(ctx, p, "revoke", func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
		return c.Revoke(ctx, id)
	})
}

// TimeToLive is kv.Etcd's.
func (p *connection) TimeToLive(ctx context.Context, id clientv3.LeaseID, o ...clientv3.LeaseOption) (
	*clientv3.LeaseTimeToLiveResponse, error) {
	return ask(ctx, p, "time to live", func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseTimeToLiveResponse, error) {
		return c.TimeToLive(ctx, id, o...)
	})
}

// Status is kv.Etcd's.
func (p *connection) Status(ctx context.Context, _ string) (*clientv3.StatusResponse, error) {
	return ask(ctx, p, "status", func(context.Context, *clientv3.Client) (*clientv3.StatusResponse, error) {
		return &clientv3.StatusResponse{Version: version.Version}, nil
	})
}

// AuthStatus is kv.Etcd's.
func (p *connection) AuthStatus(ctx context.Context) (*clientv3.AuthStatusResponse, error) {
	return ask(ctx, p, "authentication", func(context.Context, *clientv3.Client) (*clientv3.AuthStatusResponse, error) {
		return &clientv3.AuthStatusResponse{}, nil
	})
}

// Txn is kv.Etcd's.
func (p *connection) Txn(ctx context.Context) clientv3.Txn { return &txn{p: p, ctx: ctx} }

type txn struct {
	p               *connection
	ctx             context.Context
	compares        []clientv3.Cmp
	then, otherwise []clientv3.Op
}

func (t *txn) If(compares ...clientv3.Cmp) clientv3.Txn {
	t.compares = compares
	return t
}

func (t *txn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.then = ops
	return t
}

func (t *txn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.otherwise = ops
	return t
}

func (t *txn) Commit() (*clientv3.TxnResponse, error) {
	return ask(t.ctx, t.p, t.kind(), func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		condition, _ := t.p.way.Condition()
		switch {
		case condition.Deny, condition.DenyWrites && t.writes():
			return nil, rpctypes.ErrPermissionDenied
		case condition.Frozen > 0:
			return t.frozen(ctx, c, condition.Frozen)
		}
		return c.Txn(ctx).If(t.compares...).Then(t.then...).Else(t.otherwise...).Commit()
	})
}

// kind tells transactions apart that one process may send at once.
func (t *txn) kind() string {
	var kind strings.Builder
	kind.WriteString("txn")
	for _, c := range t.compares {
		kind.WriteByte(' ')
		kind.Write(c.KeyBytes())
	}
	for _, op := range t.then {
		kind.WriteByte(' ')
		kind.Write(op.KeyBytes())
	}
	return kind.String()
}

// Watch is kv.Etcd's. Events come in order, each late; none comes while the way is cut. When etcd ends the watch does, too.
func (p *connection) Watch(ctx context.Context, key string, o ...clientv3.OpOption) clientv3.WatchChan {
	p.seam("before watch " + key)
	out := make(chan clientv3.WatchResponse)
	go func() {
		defer close(out)
		w, kind := p.way, "watch "+key
		c, _ := w.Condition()
		w.sleep(kind, c)
		client, ended := w.Server.Client(), w.Server.end()
		if client == nil || c.Cut || c.Deny || c.Hang || c.Frozen > 0 {
			p.idle(ctx)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		in := client.Watch(ctx, key, o...)
		for {
			select {
			case r, open := <-in:
				if !open || !p.deliver(ctx, kind, out, r) {
					return
				}
			case <-ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// idle waits a while, as a client does that reaches nobody.
func (p *connection) idle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second + p.way.Chance.Span("idle", time.Second)):
	}
}

// deliver brings one answer of a watch.
func (p *connection) deliver(ctx context.Context, kind string, out chan<- clientv3.WatchResponse, r clientv3.WatchResponse) bool {
	for {
		c, changed := p.way.Condition()
		if !c.Cut && !c.CutBack && !c.Hang && c.Frozen == 0 {
			p.way.sleep(kind, c)
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case out <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

// Renewals is kv.Etcd's.
func (p *connection) Renewals(ctx context.Context) (pb.Lease_LeaseKeepAliveClient, error) {
	return &renewals{p: p, ctx: ctx}, nil
}

// renewals is a stream of one process's renewals, each of which is a request of its own here.
type renewals struct {
	grpc.ClientStream
	p       *connection
	ctx     context.Context
	pending *pb.LeaseKeepAliveRequest
}

func (r *renewals) Send(q *pb.LeaseKeepAliveRequest) error {
	r.pending = q
	return nil
}

func (r *renewals) Recv() (*pb.LeaseKeepAliveResponse, error) {
	q := r.pending
	if q == nil {
		return nil, io.EOF
	}
	r.pending = nil
	return ask(r.ctx, r.p, "renew", func(ctx context.Context, _ *clientv3.Client) (*pb.LeaseKeepAliveResponse, error) {
		if condition, _ := r.p.way.Condition(); condition.Frozen > 0 {
			return &pb.LeaseKeepAliveResponse{ID: q.ID, TTL: 1}, nil
		}
		return r.p.way.Server.renew(ctx, q.ID)
	})
}
