package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	callTime   = 5 * time.Second       // bounds one call to etcd, whatever its caller's patience
	scanTime   = 30 * time.Second      // bounds one that reads every record of a kind
	tryTime    = time.Second           // what the first try of a call has of that at most; each further one has twice as much
	hungTry    = tryTime / 5           // the same while a member hangs
	hungFor    = 15 * time.Second      // for how long one is believed to
	maxOps     = 128                   // operations, and compares, of one transaction (etcd's default limit)
	firstPause = 50 * time.Millisecond // and twice as long, at most, after each
	repeats    = 5                     // how often a transaction whose answer was lost is sent in all
)

// insist makes a call that may be made again, and again where a try has no answer, for as long as patience or ctx lasts. One
// member of etcd may hang while the others answer, and the client sends each try to the next one.
func insist[T any](ctx context.Context, c *Client, patience time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	if end, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(end))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for n, try := 1, min(c.firstTry(), patience/6); ; n, try = n+1, try*2 {
		began := time.Now()
		bounded, cancel := context.WithTimeout(ctx, try)
		answer, err := call(bounded)
		if status.Code(err) == codes.DeadlineExceeded {
			<-bounded.Done() // the member counts the time, too, and may give up a moment before
		}
		late := bounded.Err() != nil
		cancel()
		if err == nil && n > 1 && time.Since(began) < hungTry/2 {
			c.hung.Store(&began)
		}
		if err == nil || !late || ctx.Err() != nil {
			return answer, err
		}
		if c.login != nil {
			c.diagnosis.begin(c.login.options)
		}
	}
}

// firstTry is what the first try of a call has at most. While a member hangs it is less, so that what takes many calls, as a
// join does, does not wait for each third of them. That one hangs is known by another that answered the next try at once:
// where all are slow, calls are not sent more often.
func (c *Client) firstTry() time.Duration {
	if at := c.hung.Load(); at != nil && time.Since(*at) < hungFor {
		return hungTry
	}
	return tryTime
}

// consult reads in one transaction, linearizably.
func (c *Client) consult(ctx context.Context, patience time.Duration, t *txn) error {
	known, err := c.life.known()
	if err != nil {
		return err
	}
	if err := c.insistOn(ctx, patience, t); err != nil {
		return err
	}
	return c.life.witness(known, t.header)
}

// insistOn sends a transaction that may be sent again, until it is answered.
func (c *Client) insistOn(ctx context.Context, patience time.Duration, t *txn) error {
	_, err := insist(ctx, c, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.send(ctx, t) })
	return err
}

// commit sends a transaction for the nth time, from 1.
func (c *Client) commit(ctx context.Context, n int, t *txn) error {
	known, err := c.life.known()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, min(callTime, c.firstTry()<<(n-1)))
	defer cancel()
	if err := c.send(ctx, t); err != nil {
		return err
	}
	return c.life.witness(known, t.header)
}

// settle commits a transaction, and commits the very same again while its answer is lost.
func (c *Client) settle(ctx context.Context, t *txn) error {
	for n := 1; ; n++ {
		err := c.commit(ctx, n, t)
		if err == nil || !again(ctx, n, err) {
			return err
		}
	}
}

// settled is settle for a transaction that means nothing where it is not carried out but what its verdict says.
func (c *Client) settled(ctx context.Context, t *txn) error {
	if err := c.settle(ctx, t); err != nil || t.Done {
		return err
	}
	return t.Verdict()
}

// send sends a transaction once, whatever life of etcd's answers.
func (c *Client) send(ctx context.Context, t *txn) error {
	client, err := c.etcd()
	if err != nil {
		return err
	}
	began := time.Now()
	then, otherwise := t.branches()
	response, err := client.Txn(ctx).If(t.compares...).Then(opsOf(then)...).Else(opsOf(otherwise)...).Commit()
	if err == nil {
		t.header = response.Header
		t.learn(response.Succeeded, response.Responses)
	}
	c.observe(t.operation, time.Since(began), err == nil && t.conflicted(), err)
	c.heard(client, t.operation, err)
	if err != nil {
		return c.failed(t.operation, err)
	}
	return nil
}

// get reads one key, linearizably.
func (c *Client) get(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	return c.read(ctx, callTime, key)
}

// scan reads all keys under a prefix, linearizably.
func (c *Client) scan(ctx context.Context, prefix string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return c.read(ctx, scanTime, prefix, append(options, clientv3.WithPrefix())...)
}

func (c *Client) read(ctx context.Context, patience time.Duration, key string, options ...clientv3.OpOption) (*clientv3.GetResponse,
	error) {
	client, err := c.etcd()
	if err != nil {
		return nil, err
	}
	known, err := c.life.known()
	if err != nil {
		return nil, err
	}
	response, err := insist(ctx, c, patience, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, key, options...)
	})
	c.heard(client, "read "+c.keys.part(key), err)
	if err != nil {
		return nil, c.failed("read "+key, err)
	}
	if err := c.life.witness(known, response.Header); err != nil {
		return nil, err
	}
	return response, nil
}

// failed puts an error of the client's into words. Where etcd did not answer, its own say little: the reason leads, where it is
// known.
func (c *Client) failed(operation string, err error) error {
	if !ambiguous(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("lease: %s: %w", operation, err)
	}
	if cause := c.diagnosis.found(); cause != nil {
		return fmt.Errorf("lease: %w: %s: %w", cause, operation, err)
	}
	return fmt.Errorf("lease: %s: etcd at %s does not answer: %w", operation, c.endpoints(), err)
}

// again reports whether a transaction that failed for the nth time, from 1, is to be sent once more, and pauses
// before it is: after errors that leave open whether it was, or still will be, carried out.
func again(ctx context.Context, n int, err error) bool {
	if n >= repeats || !ambiguous(err) {
		return false
	}
	return pause(ctx, rand.N(firstPause<<n)) == nil
}

// Away reports whether an error of the Store's says that etcd did not answer.
func Away(err error) bool { return err != nil && ambiguous(err) }

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

// pause waits for d; its error is ctx's, if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
