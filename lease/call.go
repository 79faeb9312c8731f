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
func insist[T any](ctx context.Context, s *Store, patience time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	if end, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(end))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for n, try := 1, min(s.firstTry(), patience/6); ; n, try = n+1, try*2 {
		began := time.Now()
		bounded, cancel := context.WithTimeout(ctx, try)
		answer, err := call(bounded)
		if status.Code(err) == codes.DeadlineExceeded {
			<-bounded.Done() // the member counts the time, too, and may give up a moment before
		}
		late := bounded.Err() != nil
		cancel()
		if err == nil && n > 1 && time.Since(began) < hungTry/2 {
			s.hung.Store(&began)
		}
		if err == nil || !late || ctx.Err() != nil {
			return answer, err
		}
		if s.login != nil {
			s.diagnosis.begin(s.login.options)
		}
	}
}

// A transaction is a commit to be.
type transaction struct {
	If         []clientv3.Cmp
	Then, Else []clientv3.Op
}

// firstTry is what the first try of a call has at most. While a member hangs it is less, so that what takes many calls, as a
// join does, does not wait for each third of them. That one hangs is known by another that answered the next try at once:
// where all are slow, calls are not sent more often.
func (s *Store) firstTry() time.Duration {
	if at := s.hung.Load(); at != nil && time.Since(*at) < hungFor {
		return hungTry
	}
	return tryTime
}

// consult reads in one transaction, linearizably.
func (s *Store) consult(ctx context.Context, patience time.Duration, operation string,
	reads ...clientv3.Op) (*clientv3.TxnResponse, error) {
	known, err := s.life.known()
	if err != nil {
		return nil, err
	}
	response, err := insist(ctx, s, patience, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.send(ctx, operation, transaction{Then: reads})
	})
	if err != nil {
		return nil, err
	}
	return response, s.life.witness(known, response.Header)
}

// commit sends a transaction for the nth time, from 1.
func (s *Store) commit(ctx context.Context, n int, operation string, t transaction) (*clientv3.TxnResponse, error) {
	known, err := s.life.known()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(callTime, s.firstTry()<<(n-1)))
	defer cancel()
	response, err := s.send(ctx, operation, t)
	if err != nil {
		return nil, err
	}
	return response, s.life.witness(known, response.Header)
}

// settle commits a transaction, and commits the very same again while its answer is lost.
func (s *Store) settle(ctx context.Context, operation string, t transaction) (*clientv3.TxnResponse, error) {
	for n := 1; ; n++ {
		response, err := s.commit(ctx, n, operation, t)
		if err == nil || !again(ctx, n, err) {
			return response, err
		}
	}
}

// send sends a transaction once, whatever life of etcd's answers.
func (s *Store) send(ctx context.Context, operation string, t transaction) (*clientv3.TxnResponse, error) {
	client, err := s.etcd()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	response, err := client.Txn(ctx).If(t.If...).Then(t.Then...).Else(t.Else...).Commit()
	s.observe(operation, time.Since(began), err == nil && conflicted(response), err)
	s.heard(client, operation, err)
	if err != nil {
		return nil, s.failed(operation, err)
	}
	return response, nil
}

// conflicted reports whether a compare failed, that of a nested transaction included.
func conflicted(r *clientv3.TxnResponse) bool {
	if !r.Succeeded {
		return true
	}
	for _, each := range r.Responses {
		if nested := each.GetResponseTxn(); nested != nil && !nested.Succeeded {
			return true
		}
	}
	return false
}

// get reads one key, linearizably.
func (s *Store) get(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	return s.read(ctx, callTime, key)
}

// scan reads all keys under a prefix, linearizably.
func (s *Store) scan(ctx context.Context, prefix string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return s.read(ctx, scanTime, prefix, append(options, clientv3.WithPrefix())...)
}

func (s *Store) read(ctx context.Context, patience time.Duration, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	client, err := s.etcd()
	if err != nil {
		return nil, err
	}
	known, err := s.life.known()
	if err != nil {
		return nil, err
	}
	response, err := insist(ctx, s, patience, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, key, options...)
	})
	s.heard(client, "read "+s.keys.part(key), err)
	if err != nil {
		return nil, s.failed("read "+key, err)
	}
	if err := s.life.witness(known, response.Header); err != nil {
		return nil, err
	}
	return response, nil
}

// failed puts an error of the client's into words. Where etcd did not answer, its own say little: the reason leads, where it is
// known.
func (s *Store) failed(operation string, err error) error {
	if !ambiguous(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("lease: %s: %w", operation, err)
	}
	if cause := s.diagnosis.found(); cause != nil {
		return fmt.Errorf("lease: %w: %s: %w", cause, operation, err)
	}
	return fmt.Errorf("lease: %s: etcd at %s does not answer: %w", operation, s.endpoints(), err)
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
