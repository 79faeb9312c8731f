// Package lab is what the tests of lease's packages stand on: a real etcd, its clients, the nodes that join, and ways to etcd
// that break.
package lab

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// A Lab is a cluster: its stores are its machines.
type Lab struct {
	*testing.T
	Options kv.Options

	raw func() *clientv3.Client // of a server in a bubble; nil: by the endpoints
}

// New begins a test, which runs beside others.
func New(t *testing.T) *Lab {
	t.Helper()
	t.Parallel()
	return &Lab{T: t, Options: kv.Options{Endpoints: etcdtest.Endpoints(), Prefix: etcdtest.Prefix(t)}}
}

// Check ends the test where something failed that must not.
func (l *Lab) Check(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// Store is one more client of its own.
func (l *Lab) Store(change ...func(*kv.Options)) *Store {
	l.Helper()
	o := l.Options
	for _, c := range change {
		c(&o)
	}
	s, err := OpenStore(o)
	l.Check(err)
	l.Cleanup(func() { s.KV.Close() })
	return s
}

// A Store is all that a node and an operator have, by one client.
type Store struct {
	*lease.Operator
	Sessions *session.Store
	Former   *config.FormerGateways
}

// OpenStore opens both a node's store and an operator's.
func OpenStore(o kv.Options) (*Store, error) {
	tool, err := lease.OpenOperator(o)
	if err != nil {
		return nil, err
	}
	return &Store{tool, session.New(tool.KV), config.NewFormerGateways(tool.Config)}, nil
}

// Raw is an etcd client beside the stores, for what they would not do.
func (l *Lab) Raw() *clientv3.Client {
	l.Helper()
	if l.raw != nil {
		return l.raw()
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: l.Options.Endpoints, Logger: zap.NewNop()})
	l.Check(err)
	l.Cleanup(func() { c.Close() })
	return c
}

// Put writes what no store would write.
func (l *Lab) Put(key, text string) (revision int64) {
	l.Helper()
	response, err := l.Raw().Put(l.Context(), key, text)
	l.Check(err)
	return response.Header.Revision
}

// Delete takes away every key that begins so.
func (l *Lab) Delete(prefix string) {
	l.Helper()
	_, err := l.Raw().Delete(l.Context(), prefix, clientv3.WithPrefix())
	l.Check(err)
}

// Beside runs f, whose context ends with the test.
func (l *Lab) Beside(f func(ctx context.Context)) {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { f(ctx) })
	l.Cleanup(func() { cancel(); done.Wait() })
}

// Until polls for what is to become true by itself.
func (l *Lab) Until(what string, condition func() bool) {
	l.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	l.Fatalf("not after a minute: %s", what)
}

// Contains reports whether an error says a word.
func Contains(err error, word string) bool { return strings.Contains(err.Error(), word) }

// Void makes the state nobody's for certain: whoever joins from then on recovers.
func (l *Lab) Void(s *Store) {
	l.Helper()
	l.Put(s.KV.Keys.Cluster(), kv.Encode(record.Cluster{}))
}

// ClusterRecord is the cluster's record as it is in etcd, with its mod revision.
func (l *Lab) ClusterRecord(s *Store) (record.Cluster, int64) {
	l.Helper()
	response, err := s.KV.Get(l.Context(), s.KV.Keys.Cluster())
	l.Check(err)
	record, err := record.ClusterCodec.Read(s.KV.Keys, response.Kvs[0])
	l.Check(err)
	return record, kv.RevisionOf(response.Kvs)
}
