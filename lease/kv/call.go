package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-ipam/berth/internal/task"
)

const (
	CallTime   = 5 * time.Second       // bounds one call to etcd, whatever its caller's patience
	ScanTime   = 30 * time.Second      // bounds one that reads every record of a kind
	TryTime    = time.Second           // what the first try of a call has of that at most; each further one has twice as much
	MaxOps     = 128                   // operations, and compares, of one transaction (etcd's default limit)
	firstPause = 50 * time.Millisecond // and twice as long, at most, after each
	repeats    = 5                     // how often a transaction whose answer was lost is sent in all
)

// Retry repeats an idempotent call while it has no answer, for as long as patience or ctx lasts. One member of etcd may hang while
// the others answer: the next try goes to another one (see answering).
func Retry[T any](ctx context.Context, c *Client, patience time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	if end, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(end))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for try := min(TryTime, patience/6); ; try *= 2 {
		bounded, cancel := context.WithTimeout(ctx, try)
		answer, err := call(bounded)
		if status.Code(err) == codes.DeadlineExceeded {
			<-bounded.Done() // the member counts the time, too, and may give up a moment before
		}
		late := bounded.Err() != nil
		cancel()
		if err == nil || !late || ctx.Err() != nil {
			return answer, err
		}
		if c.login != nil {
			c.diagnosis.begin(c.login.network)
		}
	}
}

// Query reads in one linearizable transaction.
func (c *Client) Query(ctx context.Context, patience time.Duration, t *Txn) error {
	known, err := c.Incarnation.known()
	if err != nil {
		return err
	}
	if err := c.RetryTxn(ctx, patience, t); err != nil {
		return err
	}
	return c.Incarnation.witness(known, t.Header)
}

// RetryTxn is Retry for an idempotent transaction. It does not check the incarnation.
func (c *Client) RetryTxn(ctx context.Context, patience time.Duration, t *Txn) error {
	_, err := Retry(ctx, c, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.send(ctx, t) })
	return err
}

// Commit sends a transaction once, as the nth try, from 1.
func (c *Client) Commit(ctx context.Context, n int, t *Txn) error {
	known, err := c.Incarnation.known()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, min(CallTime, TryTime<<(n-1)))
	defer cancel()
	if err := c.send(ctx, t); err != nil {
		return err
	}
	return c.Incarnation.witness(known, t.Header)
}

// Execute commits a transaction, and commits the same one again while its answer is lost.
func (c *Client) Execute(ctx context.Context, t *Txn) error {
	for n := 1; ; n++ {
		err := c.Commit(ctx, n, t)
		if err == nil || !c.ShouldRetry(ctx, n, err) {
			return err
		}
	}
}

// Require is Execute for a transaction that has to be carried out: else it fails with the verdict, if there is one.
func (c *Client) Require(ctx context.Context, t *Txn) error {
	if err := c.Execute(ctx, t); err != nil || t.Done {
		return err
	}
	return t.Verdict()
}

// send sends a transaction once, whichever incarnation answers.
func (c *Client) send(ctx context.Context, t *Txn) error {
	client, err := c.Etcd(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	then, otherwise := t.branches()
	response, err := client.Txn(ctx).If(t.compares...).Then(opsOf(then)...).Else(opsOf(otherwise)...).Commit()
	if err == nil {
		t.Header = response.Header
		t.learn(response.Succeeded, response.Responses)
	}
	c.observe(t.operation, time.Since(began), err == nil && t.conflicted(), err)
	c.noteOutcome(client, t.operation, err)
	if err != nil {
		return c.Failed(t.operation, err)
	}
	return nil
}

// Get reads one key, linearizably.
func (c *Client) Get(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	return c.Read(ctx, CallTime, key)
}

// Scan reads all keys under a prefix, linearizably.
func (c *Client) Scan(ctx context.Context, prefix string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return c.Read(ctx, ScanTime, prefix, append(options, clientv3.WithPrefix())...)
}

// Read reads from a key on, linearizably, for as long as patience.
func (c *Client) Read(
	ctx context.Context, patience time.Duration, key string, options ...clientv3.OpOption,
) (*clientv3.GetResponse, error) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	known, err := c.Incarnation.known()
	if err != nil {
		return nil, err
	}
	response, err := Retry(ctx, c, patience, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, key, options...)
	})
	c.noteOutcome(client, "read "+c.Keys.part(key), err)
	if err != nil {
		return nil, c.Failed("read "+key, err)
	}
	if err := c.Incarnation.witness(known, response.Header); err != nil {
		return nil, err
	}
	return response, nil
}

// Failed names the operation in an error of the client's. Where etcd did not answer, the diagnosis comes first, if there is one.
func (c *Client) Failed(operation string, err error) error {
	if !ambiguous(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("lease: %s: %w", operation, err)
	}
	if cause := c.diagnosis.found(); cause != nil {
		return fmt.Errorf("lease: %w: %s: %w", cause, operation, err)
	}
	return fmt.Errorf("lease: %s: etcd at %s does not answer: %w", operation, c.endpoints(), err)
}

// ShouldRetry reports whether a transaction that failed for the nth time, from 1, is to be sent again: after errors that leave
// open whether it was, or still will be, carried out. It pauses before it returns true.
func (c *Client) ShouldRetry(ctx context.Context, n int, err error) bool {
	if n >= repeats || !ambiguous(err) {
		return false
	}
	return task.Pause(ctx, c.Random.Below(firstPause<<n)) == nil
}

// Unavailable reports whether an error says that etcd did not answer.
func Unavailable(err error) bool { return err != nil && ambiguous(err) }

func ambiguous(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	switch codeOf(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal:
		return true
	}
	return false
}
