// Package sim runs a whole cluster of Berth on virtual time in one process: the agents' real code on etcd itself, with a model of
// the kernel, and a plan of what runtimes, operators and faults do. A judge looks at the modelled wire whenever it changes. A run
// is a function of its seed.
package sim

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/e2e/sim/chance"
	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/e2e/sim/kernel"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Options are what a run is like.
type Options struct {
	Seed   uint64
	Nodes  int
	Strict bool
	Dual   bool        // pools have IPv6 beside IPv4
	Dir    string      // for etcd's data and the namespaces' files, on a tmpfs
	Log    *zap.Logger // of the agents; nil: none
	Debug  func(line string)
}

// nowhere is the endpoint that clients are configured with, and do not use.
const nowhere = "127.0.0.1:1"

// Times of the cluster.
const (
	session      = 4 * time.Second
	addressLease = 60 * time.Second

	longestSession = session + 2*time.Second // that an operator sets
)

// A Cluster is one run. It is made and used inside a bubble of testing/synctest.
type Cluster struct {
	options  Options
	chance   *chance.Source
	etcd     *etcd.Server
	lan      *kernel.LAN
	nodes    []*node
	machines []netip.Addr // that hosts have on their NICs
	places   map[string]*place
	uses     int       // of the operator's tool
	way      *etcd.Way // the operator's
	observer *observer
	judge    *judge
	calm     *calm
	began    time.Time
	backup   string
	damages  map[string]slip // by key: what persons have damaged and not put back yet; guarded by mu
	saved    map[string]slip // those that the backup has
	byHand   atomic.Bool     // somebody has deleted what no agent looks for: the doctor does
	unknown  atomic.Bool     // somebody has deleted what the configuration is known by
	watches  sync.WaitGroup
	work     sync.WaitGroup // steps under way

	mu         sync.Mutex
	stopping   bool
	violations []Violation
	counts     map[string]int
	taken      map[string]bool
}

// the instant at which each run begins: what comes before takes as long as etcd needs.
func start() time.Time { return time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC) }

func newCluster(o Options) *Cluster {
	return &Cluster{
		options: o, began: start(), chance: chance.New(o.Seed), places: map[string]*place{}, counts: map[string]int{}, taken: map[string]bool{},
		calm: newCalm(), damages: map[string]slip{},
	}
}

// begin starts etcd, configures the cluster and starts the agents.
func (c *Cluster) begin() error {
	o := c.options
	namespaces := filepath.Join(o.Dir, "netns")
	if err := os.MkdirAll(namespaces, 0o700); err != nil {
		return err
	}
	server, err := etcd.Start(filepath.Join(o.Dir, "etcd"))
	if err != nil {
		return err
	}
	c.etcd = server
	time.Sleep(time.Until(c.began))
	c.observer, c.judge, c.lan = newObserver(c), newJudge(c), kernel.NewLAN(namespaces)
	c.lan.Changed = c.judge.look
	c.observe()
	c.way = etcd.NewWay(server, c.chance.Of("operator"))
	if err := c.change(func(next *config.Config) { configure(next, o) }); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	c.plug(c.lan.Host("printer"), 99) // which is none of Berth's
	for i := range o.Nodes {
		n := newNode(c, fmt.Sprint("n", i+1))
		c.nodes = append(c.nodes, n)
		c.plug(n.host, 100+i)
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}

// plug gives a host an address on its NIC that lies in the pool.
func (c *Cluster) plug(h *kernel.Host, last int) {
	a := netip.AddrFrom4([4]byte{10, 42, 0, byte(last)})
	h.PlugNIC(uplink, netip.PrefixFrom(a, 25))
	c.machines = append(c.machines, a)
}

// operate does something with the operator's client, which is opened anew each time: each run of his tool does, and knows nothing
// of what etcd was before.
func (c *Cluster) operate(f func(context.Context, *lease.Operator) error) error {
	return c.operateFor(time.Minute, f)
}

func (c *Cluster) operateFor(within time.Duration, f func(context.Context, *lease.Operator) error) error {
	c.mu.Lock()
	c.uses++
	purpose := fmt.Sprint("operator", c.uses)
	c.mu.Unlock()
	operator, err := lease.OpenOperator(kv.Options{
		Endpoints: []string{nowhere}, Network: c.way.Process(nil), Random: random.Seeded(c.chance.Seed(purpose)),
		Clock: clock.Clock{Wall: func() time.Time { return time.Now().UTC() }, Boot: func() time.Duration { return time.Since(c.began) }},
	})
	if err != nil {
		return err
	}
	defer operator.KV.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return f(ctx, operator)
}

// configure is how a run begins.
func configure(next *config.Config, o Options) {
	next.Settings.Session, next.Settings.AddressLease = allocator.Duration(session), allocator.Duration(addressLease)
	if o.Strict {
		next.Settings.Fencing = record.FencingStrict
	}
	next.Pools[poolName] = newPool(poolName, o.Dual)
}

// observe follows etcd until it ends.
func (c *Cluster) observe() {
	client := c.etcd.Client()
	c.watches.Go(func() { c.observer.follow(context.Background(), client) })
}

// change changes the configuration, as an operator does.
func (c *Cluster) change(f func(*config.Config)) error {
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		base, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		next := base.Clone()
		f(next)
		_, err = o.Editor.Apply(ctx, base, next, config.Note{Who: "operator"})
		return err
	})
}

// close ends all.
func (c *Cluster) close() {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	for _, n := range c.nodes {
		n.way.Set(etcd.Condition{})
		n.kill()
	}
	c.work.Wait()
	time.Sleep(time.Minute) // what clients have begun that nobody waits for ends
	if c.way != nil {
		c.way.Wait()
	}
	for _, n := range c.nodes {
		n.way.Wait()
	}
	if c.etcd != nil {
		c.etcd.Stop()
	}
	c.watches.Wait()
}

// going reports whether the run goes on.
func (c *Cluster) going() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.stopping
}

// now is the time of the run.
func (c *Cluster) now() time.Duration { return time.Since(c.began) }

// violate records that a promise was broken, and ends the run.
func (c *Cluster) violate(v Violation) {
	v.At = c.now()
	c.debug("VIOLATION %s: %s", v.Rule, v.What)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, v)
	c.stopping = true
}

// count counts what came of something.
func (c *Cluster) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// note puts something that happened into the trace.
func (c *Cluster) note(what string) {
	what = strings.ReplaceAll(what, c.options.Dir, "") // a trace is the same wherever the files are
	c.observer.add("%s %s", c.now(), what)
	c.debug("%s", what)
}

func (c *Cluster) debug(format string, args ...any) {
	if c.options.Debug != nil {
		c.options.Debug(fmt.Sprintf("%14s ", c.now()) + fmt.Sprintf(format, args...))
	}
}

func (c *Cluster) logger(node string) *zap.Logger {
	if c.options.Log == nil {
		return zap.NewNop()
	}
	return c.options.Log.Named(node)
}

// node finds one by its name.
func (c *Cluster) node(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// place finds a place, or makes it.
func (c *Cluster) place(name string) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[name] == nil {
		c.places[name] = newPlace(c, name)
	}
	return c.places[name]
}
