package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/embedded"
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
	via     []string // endpoints by which the agent reaches etcd; none: etcd's own
	store   *lease.Store
	agent   *Agent
	stop    func()
	spaces  int
	session time.Duration
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "rig")
	check(t, err)
	r := &rig{t: t, dir: dir, session: 2 * time.Second}
	r.until("the ports of the former test are gone", func() bool {
		links, err := net.Interfaces()
		check(t, err)
		return !slices.ContainsFunc(links, func(l net.Interface) bool { return strings.HasPrefix(l.Name, netops.Prefix) })
	})
	r.startEtcd()
	t.Cleanup(func() { r.etcd.Stop() })
	r.store, err = lease.Open(lease.Options{Endpoints: r.etcd.Endpoints()})
	check(t, err)
	t.Cleanup(func() { r.store.Close() })
	r.apply(allocator.Pool{
		Name: "default", CIDRs: prefixes("10.42.0.0/16"), Gateways: []netip.Addr{netip.MustParseAddr("10.42.0.1")}, Stateful: prefixes("10.42.0.0/20"),
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
	r.change(func(c *lease.Config) {
		c.Settings.Session, c.Settings.AddressLease = allocator.Duration(r.session), allocator.Duration(time.Minute)
		for _, p := range pools {
			c.Pools[p.Name] = p.WithDefaults()
		}
	})
}

func (r *rig) change(f func(*lease.Config)) {
	r.t.Helper()
	base, err := r.store.Config(r.t.Context())
	check(r.t, err)
	next := base.Clone()
	f(next)
	_, err = r.store.Apply(r.t.Context(), base, next, lease.Note{Who: "test"})
	check(r.t, err)
}

// start begins an agent and waits until it hands out.
func (r *rig) start() {
	r.t.Helper()
	r.begin()
	r.until("the agent is ready", func() bool { return r.agent.ready() == nil })
}

// open makes an agent that does not run.
func (r *rig) open() {
	r.t.Helper()
	boot, err := Boot()
	check(r.t, err)
	endpoints := r.via
	if endpoints == nil {
		endpoints = r.etcd.Endpoints()
	}
	r.agent, err = New(Options{
		Node: "n1", Machine: "m1", Boot: boot, Version: "test", RunDir: filepath.Join(r.dir, "run"), Log: zaptest.NewLogger(r.t, zaptest.Level(zap.WarnLevel)),
		Etcd: lease.Options{Endpoints: endpoints}, Listen: "127.0.0.1:0",
	})
	check(r.t, err)
	r.stop = func() { r.agent.Close() }
}

func (r *rig) begin() {
	r.t.Helper()
	r.open()
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
		conn, err := net.Dial("unix", a.Socket())
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
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	r.t.Fatalf("not after 15 s: %s", what)
}

// space makes a container's network namespace.
func (r *rig) space() string {
	r.t.Helper()
	r.spaces++
	path := filepath.Join(r.dir, "ns", fmt.Sprint(r.spaces))
	check(r.t, sandbox.Namespace(path))
	r.t.Cleanup(func() { sandbox.Remove(path) })
	return path
}

// stateless is a container of an app in the interface role.
func (r *rig) stateless(id, app string) wire.Container {
	c := wire.Container{Network: "net", ID: id, Interface: "eth0", Role: wire.Interface, Netns: r.space()}
	if app != "" {
		c.Namespace, c.App = "ns", app
	}
	return c
}

func (r *rig) stateful(id, app, member string) wire.Container {
	c := r.stateless(id, app)
	c.Class, c.Member = string(allocator.Stateful), member
	return c
}

// ask sends one request as a plugin does.
func (r *rig) ask(operation string, set ...wire.Container) (*wire.Response, error) {
	r.t.Helper()
	return r.send(&wire.Request{Operation: operation, Verb: operation, Started: int64(wire.Boottime()), Containers: set})
}

func (r *rig) send(q *wire.Request) (*wire.Response, error) {
	r.t.Helper()
	var files []*os.File
	for i := range q.Containers {
		c := &q.Containers[i]
		if c.Netns == "" {
			continue
		}
		if f, err := os.Open(c.Netns); err == nil {
			defer f.Close()
			files = append(files, f)
			c.NetnsFile = len(files)
		}
	}
	response, err := wire.Call(r.t.Context(), r.agent.Socket(), 5*time.Second, q, files)
	check(r.t, err)
	if response.Error != nil {
		return response, response.Error
	}
	return response, nil
}

// add is an ADD that must succeed; it returns the IPv4 address.
func (r *rig) add(c wire.Container) netip.Addr {
	r.t.Helper()
	response, err := r.ask(wire.Insert, c)
	check(r.t, err)
	return response.Results[0].Addresses[0].Address.Addr()
}

func (r *rig) del(c wire.Container) {
	r.t.Helper()
	_, err := r.ask(wire.Delete, c)
	check(r.t, err)
}

// refused is an insert that must fail with a code and leave links, journal, allocator and reservations as they were.
func (r *rig) refused(code int, set ...wire.Container) *wire.Error {
	r.t.Helper()
	before := r.count()
	_, err := r.ask(wire.Insert, set...)
	if err == nil {
		r.t.Fatalf("it was done; want code %d", code)
	}
	refusal := wire.AsError(err)
	if refusal.Code != code {
		r.t.Errorf("code %d (%s), want %d", refusal.Code, refusal, code)
	}
	r.until(fmt.Sprintf("all is as it was before %q", refusal), func() bool { return r.count() == before }) // etcd learns of it in a moment
	return refusal
}

// count counts what a failed request must not change: links of this host, entries, held addresses, reservations that are attached.
func (r *rig) count() [4]int {
	r.t.Helper()
	links, err := net.Interfaces()
	check(r.t, err)
	n := 0
	for _, l := range links {
		if l.Name != "berth0" {
			n++
		}
	}
	held := 0
	r.agent.pools.each(func(_ spaceKey, s *allocator.Space) { held += s.Counts().Held })
	attached := 0
	reservations, err := r.store.Reservations(r.t.Context())
	check(r.t, err)
	for _, s := range reservations {
		if s.Holder != nil {
			attached++
		}
	}
	return [4]int{n, len(r.agent.journal.Entries()), held, attached}
}

// empty fails unless nothing is held or assigned any more, in the journal, the kernel and etcd.
func (r *rig) empty() {
	r.t.Helper()
	r.until("nothing is held, assigned or attached", func() bool {
		assignments, err := r.store.Assignments(r.t.Context())
		check(r.t, err)
		c := r.count()
		return len(assignments) == 0 && c[1]+c[2]+c[3] == 0 && len(r.agent.journal.Pending()) == 0
	})
	ports, err := r.agent.kernel.Ports()
	check(r.t, err)
	if len(ports) > 0 {
		r.t.Errorf("ports %v are left", ports)
	}
}

func (r *rig) assigned(addr netip.Addr) *lease.Assignment {
	r.t.Helper()
	all, err := r.store.Assignments(r.t.Context())
	check(r.t, err)
	for _, s := range all {
		if s.Address == addr {
			return &s
		}
	}
	return nil
}

func prefixes(text ...string) (all []netip.Prefix) {
	for _, t := range text {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(body)
}
