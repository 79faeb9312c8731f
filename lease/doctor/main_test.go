package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// A lab is a real etcd, and nodes whose agents answer what the test says.
type lab struct {
	*testing.T
	prefix    string
	endpoints []string
	store     *lease.Operator
	peer      *lease.Node // the nodes'
	etcd      *clientv3.Client
	config    *config.Config

	mu       sync.Mutex
	sessions map[string]*session.Session
	answers  map[string]record.NodeReport
	repaired []string // who was asked to
}

// newLab has the pool default, with the blocks 10.42.64.0/26 of n1 and 10.42.64.64/26 of n2, which both answer and have
// nothing.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	return newLabAt(t, etcdtest.Endpoints())
}

// newLabApart has an etcd of its own, which may be made to forget what others need.
func newLabApart(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	dir, err := os.MkdirTemp("", "apart") // the name of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := etcdtest.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return newLabAt(t, server.Endpoints())
}

func newLabAt(t *testing.T, endpoints []string) *lab {
	t.Helper()
	l := &lab{
		T: t, prefix: etcdtest.Prefix(t), endpoints: endpoints, sessions: map[string]*session.Session{}, answers: map[string]record.NodeReport{},
	}
	var err error
	l.etcd, err = clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	l.check(err)
	t.Cleanup(func() { l.etcd.Close() })
	o := kv.Options{Endpoints: endpoints, Prefix: l.prefix}
	l.store, err = lease.OpenOperator(o)
	l.check(err)
	t.Cleanup(func() { l.store.KV.Close() })
	l.peer, err = lease.OpenNode(o)
	l.check(err)
	t.Cleanup(func() { l.peer.KV.Close() })
	base, err := l.store.Config.Read(t.Context())
	l.check(err)
	next := base.Clone()
	next.Pools["default"] = allocator.Pool{
		Name: "default", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
		Stateful: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/20")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.42.64.1")},
	}.WithDefaults()
	l.config, err = l.store.Editor.Apply(t.Context(), base, next, config.Note{Who: "test"})
	l.check(err)
	_, err = l.peer.Sessions.Handshake(t.Context(), "n1", "machine", session.Past{})
	l.check(err)
	for i, name := range []string{"n1", "n2"} {
		x := l.join(name)
		wanted := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, 64, byte(64 * i)}), 26)
		_, err := block.Claim(t.Context(), x, "default", l.config.PoolRevisions["default"], wanted)
		l.check(err)
		l.answers[name] = record.NodeReport{Spaces: []record.HeldSpace{{Pool: "default", Family: "ipv4", Parts: []netip.Prefix{wanted}}}}
		l.follow(name)
	}
	return l
}

func (l *lab) check(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) join(name string) *session.Session {
	l.Helper()
	x, err := l.peer.Sessions.Join(l.Context(), record.Node{
		Name: name, Machine: name, Boot: "b", Journal: "j", Fencing: record.FencingEvidence,
		Session: allocator.Duration(time.Minute), AddressLease: allocator.Duration(time.Hour), Started: time.Now(),
	})
	l.check(err)
	l.mu.Lock()
	l.sessions[name] = x
	l.mu.Unlock()
	l.check(rollout.Publish(l.Context(), x, rollout.Batch{Status: record.Status{Applied: l.config.Revision}}))
	return x
}

// follow answers for a node until the test ends.
func (l *lab) follow(name string) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		_ = admin.FollowRequests(ctx, l.peer.KV, func(q record.ReportRequest) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if slices.Contains(q.Repair, name) {
				l.repaired = append(l.repaired, name)
			}
			if err := admin.Report(ctx, l.sessions[name], q, l.answers[name]); err != nil && !errors.Is(err,
				admin.ErrWithdrawn) && !session.Over(err) && ctx.Err() == nil {
				l.Error(err)
			}
		})
	})
	l.Cleanup(func() { cancel(); done.Wait() })
}

// says changes what a node answers.
func (l *lab) says(name string, f func(*record.NodeReport)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.answers[name]
	f(&a)
	l.answers[name] = a
}

// has lets a node have a container, with its port, and published where it is stateless.
func (l *lab) has(name, container, address string, change ...func(*record.HeldAttachment)) record.HeldAttachment {
	l.Helper()
	h := record.HeldAttachment{
		Attachment: allocator.Attachment{Network: "net", Container: container, Interface: "eth0"}, Role: "interface", Class: allocator.Stateless,
		Pool: "default", Addresses: []netip.Addr{netip.MustParseAddr(address)}, Since: time.Now().UTC(), Answered: true, Port: "bth" + container,
	}
	for _, c := range change {
		c(&h)
	}
	l.says(name, func(a *record.NodeReport) {
		a.Attachments = append(slices.Clone(a.Attachments), h)
		a.Ports = append(slices.Clone(a.Ports), record.HeldPort{Name: h.Port, Class: string(h.Class)})
	})
	if h.Class == allocator.Stateless {
		l.put("assignments/default/"+address,
			fmt.Sprintf(`{"attachment":{"network":"net","container":"%s","interface":"eth0"},"node":"%s"}`, container, name))
	}
	return h
}

// fence changes the cluster's mode.
func (l *lab) fence(mode string) {
	l.Helper()
	base, err := l.store.Config.Read(l.Context())
	l.check(err)
	next := base.Clone()
	next.Settings.Fencing = mode
	after, err := l.store.Editor.Apply(l.Context(), base, next, config.Note{Who: "test"})
	l.check(err)
	l.config = after
	for _, x := range l.sessions {
		l.check(rollout.Publish(l.Context(), x, rollout.Batch{Status: record.Status{Applied: after.Revision}}))
	}
}

func (l *lab) put(key, value string) {
	l.Helper()
	_, err := l.etcd.Put(l.Context(), l.prefix+"/"+key, value)
	l.check(err)
}

func (l *lab) get(key string) string {
	l.Helper()
	got, err := l.etcd.Get(l.Context(), l.prefix+"/"+key)
	l.check(err)
	if len(got.Kvs) == 0 {
		return ""
	}
	return string(got.Kvs[0].Value)
}

func (l *lab) del(key string) {
	l.Helper()
	_, err := l.etcd.Delete(l.Context(), l.prefix+"/"+key)
	l.check(err)
}

var quick = Options{Who: "test", Patience: 10 * time.Second, Settle: 10 * time.Millisecond}

func (l *lab) examine() *Report {
	l.Helper()
	r, err := Examine(l.Context(), l.store, quick)
	l.check(err)
	return r
}

// finds fails unless exactly these kinds are found, and returns the findings in their order.
func (l *lab) finds(want ...Kind) []Finding {
	l.Helper()
	var got []Kind
	text := ""
	found := l.examine().Findings
	for _, f := range found {
		got = append(got, f.Kind)
		text += fmt.Sprintf("\n%s %s %s: %s [%s]", f.Kind, f.where(), f.Container, f.Cause, f.Repair)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.Fatalf("found %q, want %q%s", got, want, strings.ReplaceAll(text, l.prefix, ""))
	}
	return found
}

// fixes repairs, and fails unless these are left.
func (l *lab) fixes(left ...Kind) *Report {
	l.Helper()
	r, err := Fix(l.Context(), l.store, l.examine(), quick)
	l.check(err)
	var got []Kind
	for _, f := range r.Findings {
		got = append(got, f.Kind)
	}
	if !slices.Equal(got, left) {
		l.Fatalf("left %q, want %q: %+v", got, left, r.Findings)
	}
	return r
}
