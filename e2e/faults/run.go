package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/e2e/lab"
)

// Options say what a run is.
type Options struct {
	Binaries string // directory of the programs
	Mode     Mode
	Strict   bool
	Seed     uint64
	Duration time.Duration
	Kinds    []Kind
	Focus    *Profile // instead of the plan by the seed; nil: none
	Out      io.Writer
}

// A Verdict is what a run came to.
type Verdict struct {
	Violations []check.Violation
	Undecided  int // identities whose history was too tangled to be decided
}

// etcdMembers is how many members etcd has, and disk how many bytes a node has for its run directory.
const (
	etcdMembers = 3
	disk        = 16 << 20
)

// Run makes a cluster, lets the plan happen to it, and gives the verdict. The cluster is gone when it returns.
func Run(ctx context.Context, o Options) (verdict Verdict, err error) {
	size := SizeOf(o.Seed)
	if o.Focus != nil {
		size = o.Focus.Size
	}
	machines := lab.Options{Binaries: o.Binaries, Members: etcdMembers, Nodes: size.Nodes, Disk: disk, Machines: true}
	if o.Mode.Subnet {
		machines.Gateways = size.gateways()
	}
	machines.IPv6 = size.Both && o.Mode.Routes
	l, err := lab.New(ctx, machines)
	if err != nil {
		return verdict, err
	}
	defer func() {
		if (err != nil || len(verdict.Violations) > 0 || o.Focus != nil) && ctx.Err() == nil {
			fmt.Fprintf(o.Out, "\nthe logs are in %s\n", keepLogs(l))
		}
		err = errors.Join(err, l.Close())
	}()
	w := newWorld(l, size, o)
	before, err := w.prepare(ctx)
	if err != nil {
		return verdict, err
	}
	w.begin, w.history = time.Now(), check.History{}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan error, 1)
	var asking sync.WaitGroup
	asking.Go(func() { w.reaching(watching) })
	asking.Go(func() { w.sessions(watching) })
	if o.Mode.Routes {
		asking.Go(func() { w.ways(watching) })
	}
	go func() { watched <- w.watcher.Run(watching) }()
	defer func() {
		stop()
		asking.Wait()
		err = errors.Join(err, <-watched)
	}()
	if o.Focus != nil {
		err = w.focus(ctx, o)
	} else {
		w.play(ctx, o, NewPlan(o.Seed, size, o.Duration, o.Kinds))
	}
	if err != nil || ctx.Err() != nil {
		return verdict, errors.Join(err, ctx.Err())
	}
	fmt.Fprintf(o.Out, "%8.1fs  all is repaired; waiting until it agrees\n", w.now().Seconds())
	verdict.Violations, verdict.Undecided = w.conclude(ctx, before)
	w.report(o.Out, verdict)
	return verdict, w.idle()
}

func newWorld(l *lab.Lab, size Size, o Options) *world {
	w := &world{
		lab: l, mode: o.Mode, size: size, begin: time.Now(), tokens: make(chan struct{}, atOnce),
		rules: check.Rules{Strict: o.Strict, Session: size.Session, AddressLease: size.AddressLease},
		open:  map[*check.Absence]bool{}, live: map[*instance]bool{}, counted: map[string]int{}, struck: map[Kind]tally{},
		sessionless: map[string]time.Duration{}, marks: map[marked]check.MAC{}, leading: map[leading]*check.Way{}, members: map[netip.Addr]bool{},
		settled: 90 * time.Second,
	}
	for _, n := range l.Nodes {
		w.nodes = append(w.nodes, &host{Node: n})
	}
	return w
}

// prepare configures the cluster, gives every node its bridge, and counts what there is then.
func (w *world) prepare(ctx context.Context) (before lab.Census, err error) {
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return nil, err
	}
	if err := watch.Plug("switch", filepath.Join(scratch, "watch"), w.lab.Seat()...); err != nil {
		return nil, err
	}
	if w.watcher, err = watch.New(filepath.Join(scratch, "watch"), w.mode.wire(w), w.now, w.heard); err != nil {
		return nil, err
	}
	for _, p := range w.size.families(w.size.Pool) {
		for a := w.mode.first(p); p.Contains(a); a = a.Next() {
			w.watcher.Watch(a)
		}
	}
	if err := w.configure(ctx, w.nodes[0], 1500, false); err != nil {
		return nil, err
	}
	for _, h := range w.nodes {
		if err := lab.Eventually(ctx, h.Name+" gives addresses", func() error { return w.warm(ctx, h) }); err != nil {
			return nil, err
		}
	}
	err = lab.Eventually(ctx, "the cluster is empty", func() error {
		if before, err = w.lab.Census(ctx); err != nil {
			return err
		}
		if left := before.Left(); len(left) > 0 {
			return fmt.Errorf("there is left: %v", left)
		}
		return nil
	})
	return before, err
}

// configure applies a configuration of the pool and the settings, as an operator does on a node.
func (w *world) configure(ctx context.Context, h *host, mtu int, route bool) error {
	file := filepath.Join(scratch, "pools.yaml")
	if err := os.WriteFile(file, []byte(w.size.configuration(w.mode, w.rules.Strict, mtu, route)), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, anyPatience)
	defer cancel()
	_, err := h.Berthctl(ctx, "apply", "-f", file)
	return err
}

// play lets a plan happen.
func (w *world) play(ctx context.Context, o Options, plan Plan) {
	w.places, w.kinds = w.newPlaces(), o.Kinds
	deadline, stop := context.WithDeadline(ctx, w.begin.Add(o.Duration))
	defer stop()
	var workers, rest sync.WaitGroup
	for _, p := range w.places {
		workers.Go(func() { p.run(deadline) })
	}
	n := &nemesis{w: w}
	rest.Go(func() { n.unleash(deadline, plan.Faults) })
	rest.Go(func() { w.supervise(deadline) })
	rest.Go(func() { w.progress(deadline, o.Out) })
	for _, a := range plan.Actions {
		select {
		case <-deadline.Done():
		case <-time.After(a.At - w.now()):
			w.dispatch(deadline, a)
		}
	}
	for _, p := range w.places {
		close(p.queue)
	}
	rest.Wait()
	workers.Wait()
	w.ghosts.Wait()
}

// dispatch gives an action to its place, or does what concerns a whole node.
func (w *world) dispatch(ctx context.Context, a Action) {
	h := w.nodes[a.Node]
	switch a.Do {
	case Collect:
		w.ghosts.Go(func() {
			once, cancel := context.WithTimeout(ctx, anyPatience)
			defer cancel()
			w.result(Collect, h.GC(once, w.mode.network(), w.on(h)...))
		})
	case Configure:
		mtu, route := 1400+a.Place%2*100, a.Node%2 == 0
		w.ghosts.Go(func() { w.result(Configure, w.configure(ctx, h, mtu, route)) })
	default:
		select {
		case w.places[a.Place].queue <- a:
		default:
			w.count(string(a.Do) + " came too late")
		}
	}
}

func (w *world) result(d Deed, err error) {
	if err != nil {
		w.count(string(d) + " refused")
		return
	}
	w.count(string(d))
}
