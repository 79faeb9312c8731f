// Package lease is what the cluster has agreed on: who owns which block, whose a reservation is and who holds it, the
// configuration, and who is alive. All of it is in etcd.
//
// Every transaction that gives something to a node compares the node's generation and session, and every transaction
// is safe to repeat. One whose answer was lost is settled by another that changes what it compares: no read can tell
// that it will not be carried out yet.
package lease

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	callTime   = 5 * time.Second       // bounds one call to etcd, whatever its caller's patience
	scanTime   = 30 * time.Second      // bounds one that reads every record of a kind
	maxOps     = 128                   // operations, and compares, of one transaction (etcd's default limit)
	firstPause = 50 * time.Millisecond // and twice as long, at most, after each
	repeats    = 5                     // how often a transaction whose answer was lost is sent in all
)

// Options say how etcd is reached.
type Options struct {
	Endpoints         []string
	Prefix            string               // of all keys; empty: DefaultPrefix
	CACert, Cert, Key string               // files; a certificate is read anew for each connection, so it can be renewed
	User              string               // with PasswordFile: etcd's own authentication
	PasswordFile      string               // read by Open
	Observe           Observer             // nil: nobody does
	Now               func() time.Duration // the time since boot, CLOCK_BOOTTIME; nil: the machine's
}

// An Observer hears of each transaction: what it was for, how long it took, whether a compare failed, and the error.
type Observer func(operation string, took time.Duration, conflict bool, err error)

// A Store is the cluster's state. It is safe for concurrent use.
type Store struct {
	keys    Keys
	observe Observer
	now     func() time.Duration
	hints   hints
	life    life

	mu     sync.Mutex
	config clientv3.Config
	client *clientv3.Client
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o Options) (*Store, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("lease: open: no etcd endpoints: want at least one URL")
	}
	s := &Store{keys: NewKeys(o.Prefix), observe: o.Observe, now: o.Now}
	if s.observe == nil {
		s.observe = func(string, time.Duration, bool, error) {}
	}
	if s.now == nil {
		s.now = boottime
	}
	s.config = clientv3.Config{
		Endpoints: o.Endpoints, Username: o.User, Logger: zap.NewNop(),
		DialTimeout: callTime, DialKeepAliveTime: 2 * callTime, DialKeepAliveTimeout: callTime,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// grpc's own waits grow to two minutes: too long after a restart of etcd.
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: callTime,
		})},
	}
	if o.PasswordFile != "" {
		password, err := os.ReadFile(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("lease: open: read the etcd user's password: %w", err)
		}
		s.config.Password = strings.TrimRight(string(password), "\r\n")
	}
	if (o.User == "") != (s.config.Password == "") {
		return nil, fmt.Errorf("lease: open: an etcd user and a password go together: want both, or neither")
	}
	var err error
	if s.config.TLS, err = tlsConfig(o); err != nil {
		return nil, fmt.Errorf("lease: open: %w", err)
	}
	return s, nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("a client certificate and its key go together: want both files, or neither")
	}
	if o.CACert == "" && o.Cert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of etcd's certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate: want PEM", o.CACert)
		}
	}
	if o.Cert != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		config.GetClientCertificate = load
	}
	return config, nil
}

// etcd is the client. It is made when it is first needed, since with a user's name the client's making asks etcd.
func (s *Store) etcd() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	client, err := clientv3.New(s.config)
	if err != nil {
		return nil, fmt.Errorf("lease: reach etcd at %s: %w", strings.Join(s.config.Endpoints, ", "), err)
	}
	s.client = client
	return client, nil
}

// Close lets go of etcd. What etcd holds stays as it is: no session is ended.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// A transaction is a commit to be.
type transaction struct {
	If         []clientv3.Cmp
	Then, Else []clientv3.Op
}

func (s *Store) commit(ctx context.Context, operation string, t transaction) (*clientv3.TxnResponse, error) {
	known, err := s.life.known()
	if err != nil {
		return nil, err
	}
	response, err := s.send(ctx, operation, t)
	if err == nil {
		err = s.life.witness(known, response.Header)
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// send is commit whatever life of etcd's answers.
func (s *Store) send(ctx context.Context, operation string, t transaction) (*clientv3.TxnResponse, error) {
	client, err := s.etcd()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	began := time.Now()
	response, err := client.Txn(ctx).If(t.If...).Then(t.Then...).Else(t.Else...).Commit()
	s.observe(operation, time.Since(began), err == nil && conflicted(response), err)
	if err != nil {
		return nil, s.failed(operation, err)
	}
	return response, nil
}

// settle commits a transaction, and commits the very same again while its answer is lost.
func (s *Store) settle(ctx context.Context, operation string, t transaction) (*clientv3.TxnResponse, error) {
	for n := 1; ; n++ {
		response, err := s.commit(ctx, operation, t)
		if err == nil || !again(ctx, n, err) {
			return response, err
		}
	}
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
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := client.Get(ctx, key, options...)
	if err != nil {
		return nil, s.failed("read "+key, err)
	}
	if err := s.life.witness(known, response.Header); err != nil {
		return nil, err
	}
	return response, nil
}

// failed puts an error of the client's into words. Where etcd did not answer, its own say little.
func (s *Store) failed(operation string, err error) error {
	if ambiguous(err) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("lease: %s: etcd at %s does not answer: %w", operation, strings.Join(s.config.Endpoints, ", "), err)
	}
	return fmt.Errorf("lease: %s: %w", operation, err)
}

// again reports whether a transaction that failed for the nth time, from 1, is to be sent once more, and pauses
// before it is: after errors that leave open whether it was, or still will be, carried out.
func again(ctx context.Context, n int, err error) bool {
	if n >= repeats || !ambiguous(err) {
		return false
	}
	return pause(ctx, rand.N(firstPause<<n)) == nil
}

func ambiguous(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	code := status.Code(err)
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = e.Code()
	}
	switch code {
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
