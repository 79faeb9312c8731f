package lease

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/lease/embedded"
)

// etcdSocket is that of the one etcd of these tests. Each test has keys of its own in it.
var etcdSocket string

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(withEtcd(m.Run))
}

func withEtcd(tests func() int) int {
	dir, err := os.MkdirTemp("", "lease")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	etcdSocket = filepath.Join(dir, "etcd.sock")
	server, err := startEtcd(dir)
	if err != nil {
		panic(err)
	}
	defer server.Stop()
	return tests()
}

func startEtcd(dir string) (*embedded.Server, error) {
	return embedded.Start(context.Background(), embedded.Options{
		Dir: filepath.Join(dir, "data"), Name: "test", ListenUnix: filepath.Join(dir, "etcd.sock"), Fast: true,
	})
}

// A lab is a cluster: its stores are its machines.
type lab struct {
	*testing.T
	options Options
}

var labs atomic.Int64

// newLab begins a test, which runs beside others.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	return &lab{t, Options{Endpoints: []string{"unix://" + etcdSocket}, Prefix: fmt.Sprintf("/%s/%d", t.Name(), labs.Add(1))}}
}

func (l *lab) check(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// store is one more client of its own.
func (l *lab) store(change ...func(*Options)) *Store {
	l.Helper()
	o := l.options
	for _, c := range change {
		c(&o)
	}
	s, err := Open(o)
	l.check(err)
	l.Cleanup(func() { s.Close() })
	return s
}

// raw is an etcd client beside the stores, for what they would not do.
func (l *lab) raw() *clientv3.Client {
	l.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: l.options.Endpoints, Logger: zap.NewNop()})
	l.check(err)
	l.Cleanup(func() { c.Close() })
	return c
}

// node is a record of a machine of that name.
func node(name string) Node {
	return Node{
		Name: name, Machine: "machine of " + name, Boot: "first", Journal: "j", Address: "192.0.2.1", Version: "v1",
		Fencing: FencingEvidence, Session: allocator.Duration(time.Minute), AddressLease: allocator.Duration(time.Hour),
		Started: time.Now().UTC(),
	}
}

func (l *lab) join(s *Store, name string) *Session {
	l.Helper()
	x, err := s.Join(l.Context(), node(name))
	l.check(err)
	return x
}

// brief is a node whose session ends soon after it was last kept.
func brief(name string) Node {
	n := node(name)
	n.Session = allocator.Duration(2 * time.Second)
	return n
}

// joinBriefly joins with a session that nobody keeps, and that ends soon.
func (l *lab) joinBriefly(s *Store, name string) *Session {
	l.Helper()
	x, err := s.Join(l.Context(), brief(name))
	l.check(err)
	return x
}

// keep renews a session until the test ends.
func (l *lab) keep(x *Session) {
	l.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = x.Keep(ctx, told(func(time.Duration) {})) })
	l.Cleanup(func() { cancel(); done.Wait() })
}

// smallest is the pool of the shortest file that makes one.
func smallest() allocator.Pool {
	return allocator.Pool{
		Name: "default", CIDRs: []netip.Prefix{prefix("10.42.0.0/16")}, Stateful: []netip.Prefix{prefix("10.42.0.0/20")},
		Gateways: []netip.Addr{addr("10.42.0.1")},
	}.WithDefaults()
}

// small has one stateful block of 6 usable addresses, and one other block.
func small() allocator.Pool {
	p := allocator.Pool{Name: "small", CIDRs: []netip.Prefix{prefix("10.1.0.0/28")}, Stateful: []netip.Prefix{prefix("10.1.0.8/29")}, BlockSize: allocator.BlockSize{V4: 29}}
	p.Exclude = []allocator.Range{{From: addr("10.1.0.14"), To: addr("10.1.0.14")}}
	return p.WithDefaults()
}

// both has two families.
func both() allocator.Pool {
	return allocator.Pool{
		Name: "both", CIDRs: []netip.Prefix{prefix("10.2.0.0/24"), prefix("fd00::/112")},
		Stateful: []netip.Prefix{prefix("10.2.0.0/26"), prefix("fd00::/122")},
	}.WithDefaults()
}

// apply puts pools into the configuration.
func (l *lab) apply(s *Store, pools ...allocator.Pool) *Config {
	l.Helper()
	base, err := s.Config(l.Context())
	l.check(err)
	next := base.Clone()
	for _, p := range pools {
		next.Pools[p.Name] = p
	}
	after, err := s.Apply(l.Context(), base, next, Note{Who: "tester", Message: "test"})
	l.check(err)
	return after
}

// until polls for what is to become true by itself.
func (l *lab) until(what string, condition func() bool) {
	l.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	l.Fatalf("not after 20 s: %s", what)
}

// absent waits until a node's session has expired.
func (l *lab) absent(s *Store, names ...string) {
	l.Helper()
	l.until("the sessions have expired", func() bool {
		alive, err := s.Sessions(l.Context())
		l.check(err)
		for _, name := range names {
			for _, a := range alive {
				if a == name {
					return false
				}
			}
		}
		return true
	})
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
func addr(text string) netip.Addr     { return netip.MustParseAddr(text) }

func identity(app string, member int) allocator.Identity {
	return allocator.Identity{Namespace: "ns", App: app, Member: fmt.Sprint(app, "-", member), Network: "net", Interface: "eth0"}
}

func attachment(container string) allocator.Attachment {
	return allocator.Attachment{Network: "net", Container: container, Interface: "eth0"}
}

func contains(err error, word string) bool { return strings.Contains(err.Error(), word) }

// told hears of proofs and arms nothing.
type told func(sent time.Duration)

func (told) Arm() error                  { return nil }
func (f told) Proven(sent time.Duration) { f(sent) }
