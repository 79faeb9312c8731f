package kv

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// A Network is how etcd is reached.
type Network interface {
	// Connect makes a client. With a user's name it logs in by this password, and fails where etcd does not let it in.
	Connect(password string) (Etcd, error)
	// Reach tries all endpoints at once. It succeeds when the first one answers, and else fails with *UnreachableError.
	Reach(ctx context.Context) error
}

// An Etcd is what is used of a client of etcd's.
type Etcd interface {
	Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error)
	Txn(ctx context.Context) clientv3.Txn
	Watch(ctx context.Context, key string, options ...clientv3.OpOption) clientv3.WatchChan
	Grant(ctx context.Context, seconds int64) (*clientv3.LeaseGrantResponse, error)
	Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error)
	TimeToLive(ctx context.Context, id clientv3.LeaseID, options ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error)
	Renewals(ctx context.Context) (pb.Lease_LeaseKeepAliveClient, error) // see Renewal
	Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error)
	AuthStatus(ctx context.Context) (*clientv3.AuthStatusResponse, error)
	Close() error
}

// endpoints is the network by the endpoints of the options: what is used outside of tests.
type endpoints struct {
	options Options
	dial    []grpc.DialOption
}

func newEndpoints(o Options) *endpoints {
	e := &endpoints{options: o}
	e.dial = append(byAnswering(), grpc.WithConnectParams(grpc.ConnectParams{
		// grpc's own waits grow to two minutes: too long after a restart of etcd.
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: CallTime,
	}))
	if o.secure() {
		e.dial = append(e.dial, grpc.WithTransportCredentials(newTransport(o)))
	}
	return e
}

func (e *endpoints) Connect(password string) (Etcd, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: e.options.Endpoints, Username: e.options.User, Password: password, Logger: zap.NewNop(),
		DialTimeout: CallTime, DialKeepAliveTime: 2 * CallTime, DialKeepAliveTimeout: CallTime, DialOptions: e.dial,
	})
	if err != nil {
		return nil, err
	}
	return &connection{c}, nil
}

func (e *endpoints) Reach(ctx context.Context) error { return e.options.reach(ctx) }

// A connection is etcd's own client.
type connection struct{ *clientv3.Client }

func (c *connection) Renewals(ctx context.Context) (pb.Lease_LeaseKeepAliveClient, error) {
	return pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx)
}
