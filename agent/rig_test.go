package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/embedded"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/netops"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A rig is one agent on a real etcd and this sandbox's kernel, and a second client of the same etcd.
type rig struct {
	t       testing.TB
	dir     string
	etcd    *embedded.Server
	via     []string        // endpoints by which the agent reaches etcd; none: etcd's own
	as      kv.Options      // by whose user the agent reaches etcd
	store   *lease.Operator // a tool's
	peer    *lease.Node     // another node's
	agent   *Agent
	kernel  *interleaved           // the agent's
	web     atomic.Pointer[string] // where the agent's web server listens
	stop    func()
	spaces  int
	boot    string // of a later boot of this machine
	session time.Duration
	listen  string // where the web server is; empty: on the loopback
	access  server.Access

	options func(*Options) // changes those of the next agent; nil: nothing
	socket  string         // where the agent is called; empty: below its run directory

	patience time.Duration // of until
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "rig")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) }) // an etcd's log has 64 MB from the start, and /run is in memory
	r := &rig{t: t, dir: dir, session: 2 * time.Second, patience: time.Minute}
	r.until("the ports of the former test are gone", func() bool {
		links, err := net.Interfaces()
		check(t, err)
		return !slices.ContainsFunc(links, func(l net.Interface) bool { return strings.HasPrefix(l.Name, netops.Prefix) })
	})
	r.startEtcd()
	t.Cleanup(func() { r.etcd.Stop() })
	r.store, err = lease.OpenOperator(kv.Options{Endpoints: r.etcd.Endpoints()})
	check(t, err)
	t.Cleanup(func() { r.store.KV.Close() })
	r.peer, err = lease.OpenNode(kv.Options{Endpoints: r.etcd.Endpoints()})
	check(t, err)
	t.Cleanup(func() { r.peer.KV.Close() })
	r.apply(allocator.Pool{
		Name: "default", CIDRs: prefixes("10.42.0.0/16"), Gateways: []netip.Addr{netip.MustParseAddr("10.42.0.1")},
		Stateful: prefixes("10.42.0.0/20"),
	})
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) startEtcd() {
	r.t.Helper()
	var err error
	r.etcd, err = embedded.Start(context.Background(), embedded.Options{
		Dir: filepath.Join(r.dir, "etcd"), Name: "rig", ListenUnix: filepath.Join(r.dir, "etcd.sock"), Fast: true, Log: zap.NewNop(),
	})
	check(r.t, err)
}

func (r *rig) apply(pools ...allocator.Pool) {
	r.t.Helper()
	r.change(func(c *config.Config) {
		c.Settings.Session, c.Settings.AddressLease = allocator.Duration(r.session), allocator.Duration(time.Minute)
		for _, p := range pools {
			c.Pools[p.Name] = p.WithDefaults()
		}
	})
}

func (r *rig) change(f func(*config.Config)) {
	r.t.Helper()
	base, err := r.store.Config.Read(r.t.Context())
	check(r.t, err)
	next := base.Clone()
	f(next)
	_, err = r.store.Editor.Apply(r.t.Context(), base, next, config.Note{Who: "test"})
	check(r.t, err)
}

// start begins an agent and waits until it allocates.
func (r *rig) start() {
	r.t.Helper()
	r.begin()
	r.until("the agent is ready", func() bool { return r.agent.reporter.NotReady() == nil })
}

// open makes an agent that does not run.
func (r *rig) open() {
	r.t.Helper()
	boot, err := Boot()
	check(r.t, err)
	boot += r.boot
	endpoints := r.via
	if endpoints == nil {
		endpoints = r.etcd.Endpoints()
	}
	etcd := r.as
	etcd.Endpoints = endpoints
	o := Options{
		Options: node.Options{
			Name: "n1", Machine: "m1", Boot: boot, Version: "test", RunDir: filepath.Join(r.dir, "run"), Etcd: etcd,
			Log: zaptest.NewLogger(r.t, zaptest.Level(zap.WarnLevel)),
		},
		Listen: cmp.Or(r.listen, "127.0.0.1:0"), Access: r.access,
		ListenWeb: r.listenWeb,
	}
	r.web.Store(nil)
	if r.options != nil {
		r.options(&o)
	}
	r.agent, err = New(o)
	check(r.t, err)
	r.kernel = &interleaved{Kernel: r.agent.Kernel()}
	r.agent.UseKernel(r.kernel)
	r.stop = func() { r.agent.Close() }
}

func (r *rig) listenWeb(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err == nil {
		at := l.Addr().String()
		r.web.Store(&at)
	}
	return l, err
}

// webAddress is where the agent's web server listens.
func (r *rig) webAddress() string {
	r.t.Helper()
	r.until("the web server listens", func() bool { return r.web.Load() != nil })
	return *r.web.Load()
}

// readyz is what GET /readyz answers on this machine.
func (r *rig) readyz() (code int, body string) {
	r.t.Helper()
	return get(r.t, "http://"+r.webAddress()+"/readyz")
}

func (r *rig) begin() {
	r.t.Helper()
	r.open()
	r.run()
}

// run runs the agent that is open.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	a := r.agent
	go func() { ended <- a.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error("agent:", err)
		}
		a.Close()
		r.stop = func() {}
	}
	r.until("the agent listens", func() bool {
		conn, err := net.Dial("unix", cmp.Or(r.socket, a.socket.Path))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// until polls for a condition that is to become true by itself.
func (r *rig) until(what string, condition func() bool) {
	r.t.Helper()
	for end := time.Now().Add(r.patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	r.t.Fatalf("not after %s: %s", r.patience, what)
}

func prefixes(text ...string) (all []netip.Prefix) {
	for _, t := range text {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// inside is inside the gate, until leave is called.
func inside(gate func(func())) (leave func()) {
	entered, left, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		gate(func() { close(entered); <-left })
		close(over)
	}()
	<-entered
	return sync.OnceFunc(func() { close(left); <-over })
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
