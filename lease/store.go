// Package lease is what the cluster has agreed on: who owns which block, whose a reservation is and who holds it, the
// configuration, and who is alive. All of it is in etcd.
//
// Every transaction that gives something to a node compares the node's generation and session, and every transaction
// is safe to repeat. One whose answer was lost is settled by another that changes what it compares: no read can tell
// that it will not be carried out yet.
package lease

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
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
	hung    atomic.Pointer[time.Time] // when a member of etcd was last known to hang

	mu     sync.Mutex
	config clientv3.Config
	client *clientv3.Client
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o Options) (*Store, error) {
	if err := o.reachable(); err != nil {
		return nil, fmt.Errorf("lease: open: %w", err)
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
