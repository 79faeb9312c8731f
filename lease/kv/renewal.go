package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Renewal renews one etcd lease again and again by one stream, which it keeps: where etcd has users each new stream makes the
// client log in anew, which costs etcd more than all else that an idle node asks of it. It serves one caller at a time.
type Renewal struct {
	client *Client
	lease  clientv3.LeaseID
	stream pb.Lease_LeaseKeepAliveClient // nil: the next one opens it
	end    context.CancelFunc
}

// NewRenewal renews a lease.
func NewRenewal(client *Client, lease clientv3.LeaseID) *Renewal {
	return &Renewal{client: client, lease: lease}
}

// Once renews the lease. Where it fails the stream is given up, and the next one opens another, to the next member of etcd.
func (r *Renewal) Once(ctx context.Context) error {
	err := r.exchange(ctx)
	if err != nil {
		r.Close()
	}
	return err
}

func (r *Renewal) exchange(ctx context.Context) error {
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

func (r *Renewal) open(ctx context.Context) error {
	client, err := r.client.Etcd(ctx)
	if err != nil {
		return err
	}
	whole, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	stream, err := client.Renewals(whole)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		r.client.noteOutcome(client, "renew the session", rpctypes.Error(err))
		return inTime(ctx, err)
	}
	r.stream, r.end = stream, end
	return nil
}

// Close lets go of the stream.
func (r *Renewal) Close() {
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

// Remaining is how long an etcd lease lasts yet, in whole seconds; 0 or less: it is over.
func (c *Client) Remaining(ctx context.Context, id clientv3.LeaseID) (time.Duration, error) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return 0, err
	}
	response, err := Retry(ctx, c, CallTime, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return client.TimeToLive(ctx, id)
	})
	c.noteOutcome(client, "read a lease", err)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, c.Failed("watch the former session's lease", err)
	}
	return time.Duration(response.TTL) * time.Second, nil
}

// Grant makes a lease that lasts for a session.
func (c *Client) Grant(ctx context.Context, session time.Duration) (clientv3.LeaseID, error) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return 0, err
	}
	// One that a lost answer granted holds no key, and ends by itself.
	response, err := Retry(ctx, c, CallTime, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return client.Grant(ctx, int64((session+time.Second-1)/time.Second))
	})
	c.noteOutcome(client, "grant a lease", err)
	if err != nil {
		return 0, c.Failed(fmt.Sprintf("grant a lease of %s", session), err)
	}
	return response.ID, nil
}

// Revoke ends a lease that no session uses. Where it cannot, the lease ends by itself.
func (c *Client) Revoke(id clientv3.LeaseID) {
	ctx := context.Background()
	client, err := c.Etcd(ctx)
	if err != nil {
		return
	}
	_, _ = Retry(ctx, c, CallTime, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return client.Revoke(ctx, id)
	})
}
