package lease

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/session"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// A lab is a cluster: its stores are its machines.
type lab struct {
	*testing.T
	options kv.Options
}

// newLab begins a test, which runs beside others.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	return &lab{t, kv.Options{Endpoints: etcdtest.Endpoints(), Prefix: etcdtest.Prefix(t)}}
}

func (l *lab) check(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// store is one more client of its own.
func (l *lab) store(change ...func(*kv.Options)) *Store {
	l.Helper()
	o := l.options
	for _, c := range change {
		c(&o)
	}
	s, err := openStore(o)
	l.check(err)
	l.Cleanup(func() { s.KV.Close() })
	return s
}

// A Store is all that a node and an operator have, by one client.
type Store struct {
	*Operator
	Sessions *session.Store
	Former   *config.FormerGateways
}

func openStore(o kv.Options) (*Store, error) {
	tool, err := OpenOperator(o)
	if err != nil {
		return nil, err
	}
	return &Store{tool, session.New(tool.KV, o.Now), config.NewFormerGateways(tool.Config)}, nil
}

// raw is an etcd client beside the stores, for what they would not do.
func (l *lab) raw() *clientv3.Client {
	l.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: l.options.Endpoints, Logger: zap.NewNop()})
	l.check(err)
	l.Cleanup(func() { c.Close() })
	return c
}

// put writes what no store would write.
func (l *lab) put(key, text string) (revision int64) {
	l.Helper()
	response, err := l.raw().Put(l.Context(), key, text)
	l.check(err)
	return response.Header.Revision
}

// delete takes away every key that begins so.
func (l *lab) delete(prefix string) {
	l.Helper()
	_, err := l.raw().Delete(l.Context(), prefix, clientv3.WithPrefix())
	l.check(err)
}

// beside runs f, whose context ends with the test.
func (l *lab) beside(f func(ctx context.Context)) {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { f(ctx) })
	l.Cleanup(func() { cancel(); done.Wait() })
}

// until polls for what is to become true by itself.
func (l *lab) until(what string, condition func() bool) {
	l.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	l.Fatalf("not after a minute: %s", what)
}

func contains(err error, word string) bool { return strings.Contains(err.Error(), word) }
