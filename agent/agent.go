// Package agent is a node's part of Berth: it answers the plugin, decides the order in which journal, kernel and etcd
// learn of things, and brings the three into agreement again after whatever happened.
package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
	"github.com/berth-ipam/berth/metrics"
	"github.com/berth-ipam/berth/netops"
)

// An Agent serves one node. The journal is the truth about its attachments; everything else that it holds in memory
// is derived from the journal, the kernel and etcd, and derived anew when it starts.
type Agent struct {
	Options
	store      *lease.Node
	kernel     *netops.Kernel
	journal    *journal.Journal
	metrics    *metrics.Metrics
	registry   *prometheus.Registry
	findings   *findings.Board
	badRecords badRecords
	unsure     unsure
	adopt      bool // the journal is new under a boot that may have had another, and has handed nothing out yet

	config   atomic.Pointer[config.Config]
	pools    pools
	blocks   blocks
	waiters  waiters
	demands  demands
	reserved reserved
	strays   strays
	absences absences
	recovery recovery
	readings readings
	claims   singleflight.Group
	locks    node.Locks
	slots    node.Slots

	background sync.WaitGroup // what tasks have begun and do not wait for

	gate     node.Gate      // an ADD commits only what its own generation chose
	asserted *config.Config // of whose pools all that is held here is asserted, or will be by the settling under way; nil: it has not begun
	rights   *session.Rights
	passing  map[allocator.Class]bool // the classes that may pass by the last proof; for the task that keeps the session
	waiting  atomic.Pointer[string]   // why nothing can be handed out; nil: it can

	unreadable atomic.Pointer[string] // why the configuration that etcd has cannot be read; nil: it could be, when it was read last
	vain       vain
	recovers   atomic.Pointer[time.Time] // when a recovery of etcd will be over, about; nil: there is none

	unsettled atomic.Bool // only in the build that is to be caught handing out before it settles

	socket *server.Socket
	web    *server.Web

	warming   sync.Map // the space keys for which a block is being claimed ahead of need
	unclaimed sync.Map // by space key, the failedClaim that was the last

	unread   unread
	cutOff   cutOff
	astray   atomic.Bool // somebody is to be cut off whom the kernel may still let pass
	machine  machine
	foreign  foreign
	wanted   wanted
	backlog  backlog
	lagging  lagging
	host     *host.Keeper
	detach   task.Signal // detachments wait for etcd
	giving   task.Signal // there may be something to give to another node
	rollout  task.Signal // the configuration is newer
	resettle task.Signal // the times or the mode by which this node fences are to change
	lost     task.Signal // the session's key is gone
	shaken   task.Signal // nothing may pass before the next proof
	reassert task.Signal // a pool is known again of which containers here have addresses
	mending  task.Signal // somebody asked this node to settle anew
	draining task.Signal // a pool is drained
}

// parallel is how many requests work on the kernel at once.
const parallel = 64

// New opens the journal and the kernel of the node. Nothing is handed out before Run has settled.
func New(o Options) (_ *Agent, err error) {
	a := &Agent{Options: o, registry: prometheus.NewRegistry(), rights: session.NewRights(wire.Boottime), slots: node.NewSlots(parallel),
		passing: map[allocator.Class]bool{}}
	a.findings = findings.New(a.tellFinding)
	a.wait("the agent is starting")
	a.config.Store(&config.Config{Settings: record.DefaultSettings()})
	a.metrics = metrics.New(a.registry, o.Version, a.snapshot)
	a.socket = &server.Socket{
		Path: o.Socket(), Spool: o.spool(), Limits: server.UsualLimits,
		Handle: a.respond, Observe: a.metrics.Request, Log: o.Log,
	}
	a.web = &server.Web{
		Listen: o.Listen, Access: o.Access, Node: a, Findings: a.findings,
		Metrics: promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16}),
	}
	for _, s := range []*task.Signal{
		&a.backlog.signal, &a.waiters.signal, &a.giving, &a.detach, &a.rollout, &a.resettle, &a.reassert, &a.lost, &a.shaken, &a.mending,
		&a.draining, &a.machine.look, &a.foreign.asking,
	} {
		*s = task.NewSignal()
	}
	if a.journal, err = journal.Open(o.journal(), journal.Header{Node: o.Node, Boot: o.Boot, ID: randomID()}, wire.Boottime); err != nil {
		return nil, err
	}
	a.adopt = a.journal.Cluster() == journal.Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	a.recallShunned()
	if a.kernel, err = netops.Open(); err != nil {
		return nil, err
	}
	a.host = host.New(host.Options{Kernel: a.kernel, Journal: a.journal, Config: a.config.Load, Findings: a.findings, Log: o.Log})
	o.Etcd.Observe, o.Etcd.Access = a.metrics.Transaction, a.hearAccess
	if a.store, err = lease.OpenNode(o.Etcd); err != nil {
		return nil, err
	}
	a.store.Sessions.OnStoreReset(a.beginAnew)
	return a, nil
}

// Close lets go of what New has opened.
func (a *Agent) Close() error {
	err := a.journal.Close()
	if a.kernel != nil {
		a.kernel.Close()
	}
	if a.store != nil {
		err = errors.Join(err, a.store.KV.Close())
	}
	return err
}

// Run serves the node until ctx ends. It returns an error only for what a person must mend. An end revokes nothing:
// the containers stay as they are, and the next agent finds them so.
func (a *Agent) Run(ctx context.Context) error {
	listener, err := a.socket.Listen()
	if err != nil {
		return err
	}
	a.knowUplinks()
	if err := a.recover(); err != nil {
		return errors.Join(err, listener.Close())
	}
	tasks, ctx := errgroup.WithContext(ctx)
	a.readings.alive = ctx
	run := func(task func(context.Context) error) { tasks.Go(func() error { return task(ctx) }) }
	run(func(ctx context.Context) error { return a.socket.Serve(ctx, listener) })
	run(a.keepRunDir)
	run(a.web.Serve)
	run(a.followConfig)
	run(a.followBlocks)
	run(a.followReservations)
	run(a.followNodes)
	run(a.followSessions)
	run(a.keepPresence)
	run(a.rollOut)
	run(a.publishAll)
	run(a.detachAll)
	run(a.watchKernel)
	run(a.host.Run)
	run(a.watchSleep)
	run(a.giveBackIdle)
	run(a.endRetained)
	run(a.freeFormer)
	run(a.keepMachine)
	run(a.askAhead)
	run(a.audit)
	run(a.letStraysGo)
	run(a.followDemands)
	run(a.demandAll)
	run(a.giveAll)
	run(a.followQuestions)
	run(a.watchSettings)
	err = tasks.Wait()
	a.background.Wait()
	a.socket.Remove() // the next agent makes its own
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// wait records why nothing can be handed out.
func (a *Agent) wait(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	a.waiting.Store(&reason)
}

// pool is a pool's present configuration.
func (a *Agent) pool(name string) (*allocator.Pool, *config.Config, error) {
	c := a.config.Load()
	if p, ok := c.Pools[name]; ok {
		return &p, c, nil
	}
	if bad := c.BadPool(name); bad != nil {
		return nil, nil, wire.Errorf(wire.CodeTryAgain, "pool %q cannot be used: %w: see berthctl doctor", name, bad)
	}
	if reason := a.waiting.Load(); reason != nil && c.Revision == 0 {
		return nil, nil, wire.Errorf(wire.CodeTryAgain, "node %s does not know the configuration yet: %s", a.Node, *reason)
	}
	return nil, nil, wire.Errorf(wire.CodeConfig, "pool %q is not configured (there are: %s): create it with berthctl apply", name,
		poolNames(c))
}
