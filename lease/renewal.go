package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A renewal renews one etcd lease again and again by one stream, which it keeps: where etcd has users each new stream makes the
// client log in anew, which costs etcd more than all else that an idle node asks of it. It serves one caller at a time.
type renewal struct {
	client *Client
	lease  clientv3.LeaseID
	stream pb.Lease_LeaseKeepAliveClient // nil: the next one opens it
	end    context.CancelFunc
}

func newRenewal(client *Client, lease clientv3.LeaseID) *renewal {
	return &renewal{client: client, lease: lease}
}

// once renews the lease. Where it fails the stream is given up, and the next one opens another, to the next member of etcd.
func (r *renewal) once(ctx context.Context) error {
	err := r.exchange(ctx)
	if err != nil {
		r.close()
	}
	return err
}

func (r *renewal) exchange(ctx context.Context) error {
	if r.stream == nil {
		if err := r.open(ctx); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, r.end)
	defer stop()
	if err := r.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(r.lease)}); err != nil {
		return inTime(ctx, err)
	}
	response, err := r.stream.Recv()
	if err != nil {
		return inTime(ctx, err)
	}
	if response.TTL <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

func (r *renewal) open(ctx context.Context) error {
	client, err := r.client.etcd()
	if err != nil {
		return err
	}
	whole, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(whole)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		r.client.heard(client, "renew the session", rpctypes.Error(err))
		return inTime(ctx, err)
	}
	r.stream, r.end = stream, end
	return nil
}

func (r *renewal) close() {
	if r.stream != nil {
		r.end()
		r.stream = nil
	}
}

// inTime is ctx's error where ctx has ended the stream, and etcd's else.
func inTime(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return rpctypes.Error(err)
}

// remaining is how long an etcd lease lasts yet, in whole seconds; 0 or less: it is over.
func (c *Client) remaining(ctx context.Context, id clientv3.LeaseID) (time.Duration, error) {
	client, err := c.etcd()
	if err != nil {
		return 0, err
	}
	response, err := insist(ctx, c, callTime, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return client.TimeToLive(ctx, id)
	})
	c.heard(client, "read a lease", err)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, c.failed("watch the former session's lease", err)
	}
	return time.Duration(response.TTL) * time.Second, nil
}

func (c *Client) grant(ctx context.Context, session time.Duration) (clientv3.LeaseID, error) {
	client, err := c.etcd()
	if err != nil {
		return 0, err
	}
	// One that a lost answer granted holds no key, and ends by itself.
	response, err := insist(ctx, c, callTime, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return client.Grant(ctx, int64((session+time.Second-1)/time.Second))
	})
	c.heard(client, "grant a lease", err)
	if err != nil {
		return 0, c.failed(fmt.Sprintf("grant a lease of %s", session), err)
	}
	return response.ID, nil
}

// revoke ends a lease that no session uses. Where it cannot, the lease ends by itself.
func (c *Client) revoke(id clientv3.LeaseID) {
	client, err := c.etcd()
	if err != nil {
		return
	}
	_, _ = insist(context.Background(), c, callTime, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return client.Revoke(ctx, id)
	})
}
