// Package agent is a node's part of Berth: it answers the plugin, decides the order of writes to journal, kernel and etcd, and
// brings the three into agreement again after a failure. Its parts are packages below it, each of which uses only those below
// itself; this one makes and runs them.
package agent

import (
	"context"
	"errors"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/apart"
	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/caretaker"
	"github.com/berth-ipam/berth/agent/conflict"
	"github.com/berth-ipam/berth/agent/connectivity"
	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/machine"
	"github.com/berth-ipam/berth/agent/member"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/agent/report"
	"github.com/berth-ipam/berth/agent/routes"
	"github.com/berth-ipam/berth/agent/rundir"
	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/agent/transfers"
	"github.com/berth-ipam/berth/agent/update"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/metrics"
)

// An Agent serves one node. The journal is the truth about its attachments; everything else that it holds in memory
// is derived from the journal, the kernel and etcd, and derived again when it starts.
type Agent struct {
	*node.Node
	kernel Kernel

	socket *server.Socket
	web    *server.Web

	host      *host.Keeper
	routes    *routes.Keeper
	apart     *apart.Keeper
	isolator  *isolation.Isolator
	backlog   *backlog.Backlog
	addresses *addresses.Manager
	chooser   *addresses.Chooser
	detector  *conflict.Detector
	exchange  *transfers.Exchange
	machine   *machine.Keeper
	publisher *publish.Publisher
	updater   *update.Updater
	keeper    *member.Keeper
	detacher  *attach.Detacher
	attacher  *attach.Attacher
	reporter  *report.Reporter
	caretaker *caretaker.Caretaker
	checker   *connectivity.Checker
	upkeep    *rundir.Keeper
}

// New opens the journal and the kernel of the node. Nothing is allocated before Run has settled.
func New(o Options) (_ *Agent, err error) {
	if o, err = o.withMachine(); err != nil {
		return nil, err
	}
	a := &Agent{Node: node.New(o.Options), backlog: backlog.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	registry := prometheus.NewRegistry()
	a.Findings = findings.New(a.logFinding, a.Clock.Wall)
	a.Metrics = metrics.New(registry, o.Version, func() metrics.Snapshot { return a.reporter.Snapshot() })
	header := journal.Header{Node: o.Name, Boot: o.Boot, ID: a.Random.ID()}
	if a.Journal, err = journal.Open(a.Disk, o.journal(), header, a.Clock.Boot); err != nil {
		return nil, err
	}
	if a.kernel, err = o.Kernel(); err != nil {
		return nil, err
	}
	remember(a.Node, a.kernel, o.RunDir)
	a.UseKernel(a.kernel)
	a.Etcd.Observe, a.Etcd.Access = a.Metrics.Transaction, a.ReportAccess
	if a.Store, err = lease.OpenNode(a.Etcd); err != nil {
		return nil, err
	}
	a.build(o)
	a.socket = &server.Socket{
		Path: o.Socket(), Listen: o.ListenSocket, Spool: o.Spool(), Disk: a.Disk, Limits: server.UsualLimits,
		Handle: a.respond, Observe: a.Metrics.Request, Log: o.Log,
	}
	a.web = &server.Web{
		Address: o.Listen, Listen: o.ListenWeb, Access: o.Access, Node: a.reporter, Findings: a.Findings,
		Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16}),
	}
	a.upkeep = rundir.New(a.isolator, a.socket, o.SettingsFile)
	return a, nil
}

// build makes the parts, from the lowest upwards.
func (a *Agent) build(o Options) {
	n := a.Node
	h := host.New(host.Options{
		Kernel: a.kernel, Journal: n.Journal, Config: n.Config, Findings: n.Findings, Log: n.Log,
		PathChanged: func() { a.updater.Rollout.Raise() },
	})
	a.host, a.isolator = h, isolation.New(n)
	a.routes = routes.New(routes.Options{Node: n.Name, Kernel: a.kernel, Config: n.Config, Findings: n.Findings, Routed: h.PathMayDiffer})
	n.On(a.routes.Hooks())
	a.apart = apart.New(apart.Options{Kernel: a.kernel, Config: n.Config, Findings: n.Findings})
	n.On(a.apart.Hooks())
	a.updater = update.New(n, a.backlog, h, a.apart)
	a.addresses = addresses.New(n, a.isolator, a.backlog)
	claims := addresses.NewClaims(a.addresses)
	a.chooser = addresses.NewChooser(a.addresses, claims)
	a.detector = conflict.New(a.addresses)
	a.exchange = transfers.New(a.addresses, a.backlog)
	a.machine = machine.New(a.addresses, claims, a.exchange)
	a.publisher = publish.New(a.addresses, a.isolator, a.backlog, a.updater.Status)
	a.keeper = member.New(a.addresses, a.isolator, a.publisher, a.backlog, func() {
		if o.Ready != nil {
			o.Ready()
		}
		a.machine.Look.Raise()
	})
	parts := attach.Parts{
		Node: n, Isolator: a.isolator, Addresses: a.addresses, Chooser: a.chooser, Detector: a.detector, Machine: a.machine,
		Publisher: a.publisher, Updater: a.updater, Member: a.keeper, Backlog: a.backlog, Host: h,
		Routes: a.routes, Apart: a.apart,
	}
	a.detacher = attach.NewDetacher(parts)
	a.attacher = attach.NewAttacher(parts, a.detacher)
	a.reporter = report.New(n, a.addresses, a.updater, a.detacher, a.backlog)
	a.caretaker = caretaker.New(n)
	a.checker = connectivity.New(n, a.kernel, a.attacher, a.detacher)
}

// Close closes what New has opened.
func (a *Agent) Close() (err error) {
	if a.Journal != nil {
		err = a.Journal.Close()
	}
	if a.kernel != nil {
		a.kernel.Close()
	}
	if a.Store != nil {
		err = errors.Join(err, a.Store.KV.Close())
	}
	return err
}

// Run serves the node until ctx ends. It returns an error only for what an operator must resolve. Stopping revokes nothing: the
// containers stay as they are, and the next agent finds them so.
func (a *Agent) Run(ctx context.Context) error {
	listener, err := a.socket.Open()
	if err != nil {
		return err
	}
	a.detector.FindUplinks()
	if err := a.detacher.Recover(); err != nil {
		return errors.Join(err, listener.Close())
	}
	tasks, ctx := errgroup.WithContext(ctx)
	a.reporter.Readings.Alive = ctx
	tasks.Go(func() error { return a.socket.Serve(ctx, listener) })
	for _, part := range []func(context.Context) error{
		a.web.Serve, a.host.Run, a.routes.Run, a.apart.Run, a.addresses.Run, a.detector.Run, a.exchange.Run, a.machine.Run, a.publisher.Run,
		a.updater.Run, a.join, a.detacher.Run, a.reporter.Run, a.caretaker.Run, a.checker.Run, a.upkeep.Run,
	} {
		tasks.Go(func() error { return part(ctx) })
	}
	err = tasks.Wait()
	a.Background.Wait()
	a.socket.Remove() // the next agent makes another
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// join keeps the node in the cluster, once it is known what addresses the host itself has.
func (a *Agent) join(ctx context.Context) error {
	a.machine.Begin(ctx)
	return a.keeper.Run(ctx)
}

// logFinding logs a finding that begins, changes or ends, and has the node's status written.
func (a *Agent) logFinding(f findings.Finding, stands bool) {
	fields := []zap.Field{zap.String("kind", f.Kind), zap.String("subject", f.Subject), zap.String("what", f.Text)}
	if stands {
		a.Log.Warn("finding", append(fields, zap.String("advice", f.Advice))...)
	} else {
		a.Log.Info("the finding has ended", fields...)
	}
	a.backlog.Signal.Raise()
}

// respond does what a request asks for.
func (a *Agent) respond(ctx context.Context, r *wire.Request, files []*os.File) *wire.Response {
	var response wire.Response
	var err error
	switch r.Operation {
	case wire.Status:
		err = a.reporter.StatusOf(ctx, r)
	case wire.GC:
		err = a.detacher.Gc(ctx, r)
	case wire.Insert:
		response.Results, err = a.attacher.Insert(ctx, r, files)
	case wire.Delete:
		response.Results, err = a.detacher.Delete(ctx, r, files)
	default: // read, and what is refused as unknown
		if r.Select == nil {
			response.Node = a.Name
			response.Revision, err = a.attacher.Read(ctx, r, files)
		} else if err = a.Allowed(r.Operation); err == nil {
			response.Set, err = a.reporter.ReadSelected(ctx, r.Select)
		}
	}
	if err != nil {
		response = wire.Response{Error: wire.AsError(err)}
	}
	return &response
}
