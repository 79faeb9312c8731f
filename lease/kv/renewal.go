package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	life   *streamContext                // the stream's
}

// A streamContext ends by the error that it is ended with: by a deadline's where a renewal was not answered in time, since calls pass
// over a member that has left one unanswered, and not over one whose caller has gone. No context of the library's does that.
type streamContext struct {
	context.Context // without an end
	ended           chan struct{}

	mu  sync.Mutex
	err error
}

func newStreamContext(ctx context.Context) *streamContext {
	return &streamContext{Context: context.WithoutCancel(ctx), ended: make(chan struct{})}
}

func (c *streamContext) Done() <-chan struct{} { return c.ended }

func (c *streamContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// end ends the context. Only the first error counts.
func (c *streamContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.ended)
	}
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
	stop := context.AfterFunc(ctx, func() { r.life.end(ctx.Err()) })
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
	life := newStreamContext(ctx)
	stop := context.AfterFunc(ctx, func() { life.end(ctx.Err()) })
	stream, err := client.Renewals(life)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		life.end(context.Canceled)
		r.client.noteOutcome(client, "renew the session", rpctypes.Error(err))
		return inTime(ctx, err)
	}
	r.stream, r.life = stream, life
	return nil
}

// Close lets go of the stream.
func (r *Renewal) Close() {
	if r.stream != nil {
		r.life.end(context.Canceled)
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
