package update

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// An Updater brings running containers to each new configuration, and knows which lag behind it.
type Updater struct {
	*node.Node
	backlog *backlog.Backlog
	Host    *host.Keeper

	Lagging lagging
	Rollout task.Signal // the configuration is newer
}

// New makes a node's updater.
func New(n *node.Node, b *backlog.Backlog, h *host.Keeper) *Updater {
	u := &Updater{Node: n, backlog: b, Host: h, Rollout: task.NewSignal()}
	n.On(node.Hooks{
		ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { u.Rollout.Raise() }},
		ResetLocked:   []func(){u.Lagging.reset},
	})
	return u
}

// Run brings containers to each new configuration, until ctx ends.
func (u *Updater) Run(ctx context.Context) error { return u.rollOut(ctx) }

const (
	rolloutParallel = 8 // containers that are brought to a new configuration at once
	rolloutRetry    = time.Second
	bridgeRetry     = time.Minute // while a container that cannot be updated uses a former gateway
	namedLaggards   = 200         // how many lagging containers the node's status names
	namedFindings   = 50          // how many findings it names: the value of a key in etcd is bounded
)

// lagging are the containers without the present configuration, and the last revision that all of them had.
type lagging struct {
	mu      lockorder.Subject
	seen    int64 // the revision of reasons
	applied int64 // the newest that all of them have
	live    int64 // the newest that all of them have as far as a running one can get it
	bridges bool  // every bridge has what seen says
	reasons map[allocator.Attachment]record.Lag

	Rearranged rearranged
}

// Revision is the newest one that every container of this node has.
func (l *lagging) Revision() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// LiveRevision is the newest one that every container of this node has as far as a running one can get it.
func (l *lagging) LiveRevision() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live
}

// reset forgets which revisions were applied: those of another etcd.
func (l *lagging) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.applied, l.live = 0, 0, 0
}

// Set records the outcome of a roll-out of one revision: which containers lag, and whether every bridge has it. It reports
// whether anything has changed.
func (l *lagging) Set(revision int64, bridges bool, reasons map[allocator.Attachment]record.Lag) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.seen != revision || !maps.Equal(l.reasons, reasons) || l.bridges != bridges
	l.seen, l.reasons = revision, maps.Clone(reasons) // the caller goes on reading its own
	if l.bridges = bridges; bridges && len(reasons) == remakes(reasons) {
		l.live = revision
	}
	if bridges && len(reasons) == 0 {
		l.applied = revision
	}
	return news
}

// Drop forgets a container that is gone or was recreated, and reports whether it lagged.
func (l *lagging) Drop(at allocator.Attachment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, lags := l.reasons[at]; !lags {
		return false
	}
	delete(l.reasons, at)
	if l.bridges && len(l.reasons) == remakes(l.reasons) {
		l.live = l.seen
	}
	if l.bridges && len(l.reasons) == 0 {
		l.applied = l.seen
	}
	return true
}

// Outdated is how many containers must be recreated.
func (l *lagging) Outdated() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return remakes(l.reasons)
}

func remakes(reasons map[allocator.Attachment]record.Lag) (n int) {
	for _, lag := range reasons {
		if lag.Remake {
			n++
		}
	}
	return n
}

// Status is the node's present status.
func (u *Updater) Status() record.Status {
	s := record.Status{Address: u.Address, Version: u.Version, Containers: u.Journal.Len()}
	all := u.Findings.List()
	s.Findings, s.FindingsCount = all[:min(len(all), namedFindings)], len(all)
	u.Lagging.into(&s)
	return s
}

// into adds lagging containers to the status. Of too many it names those that a running one could follow first, and the same ones
// each time, because the status is written when it changes.
func (l *lagging) into(s *record.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Revision, s.Applied, s.Live = l.seen, l.applied, l.live
	s.LaggingCount, s.RemakeCount = len(l.reasons), remakes(l.reasons)
	s.Lagging = slices.SortedFunc(maps.Values(l.reasons), func(x, y record.Lag) int {
		if x.Remake != y.Remake {
			return map[bool]int{false: -1, true: 1}[x.Remake]
		}
		return cmp.Compare(x.Attachment.String(), y.Attachment.String())
	})
	s.Lagging = s.Lagging[:min(len(s.Lagging), namedLaggards)]
}

// rollOut brings the running containers to each new configuration, and tries those that lag again.
func (u *Updater) rollOut(ctx context.Context) error {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.Rollout:
		case <-retry:
		}
		config := u.Config()
		reasons := map[allocator.Attachment]record.Lag{}
		for at, reason := range u.outdated(ctx, u.Journal.Entries(), config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: true}
		}
		for at, reason := range u.bringTo(ctx, config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: u.Lagging.Rearranged.is(at)}
		}
		bridges := u.Host.WithdrawGateways()
		if u.Lagging.Set(config.Revision, bridges, reasons) {
			u.logLagging(config.Revision, reasons)
			u.backlog.Signal.Raise() // the status has changed
		}
		switch retry = nil; {
		case u.Lagging.Rearranged.Count() < len(reasons), !bridges && len(reasons) == 0:
			retry = time.After(rolloutRetry)
		case !bridges: // containers that cannot be updated use former gateways
			retry = time.After(bridgeRetry)
		}
	}
}

// bringTo brings every container to a configuration, and returns those that failed, with the reasons.
func (u *Updater) bringTo(ctx context.Context, config *config.Config) map[allocator.Attachment]string {
	u.Host.Look() // bridges come first
	reasons := map[allocator.Attachment]string{}
	var mu sync.Mutex
	var work errgroup.Group
	work.SetLimit(rolloutParallel)
	for _, e := range u.Journal.Entries() {
		pool, ok := config.Pools[e.Pool]
		if !ok || e.Answered == 0 || current(e, &pool) {
			continue
		}
		if reason := u.Lagging.Rearranged.why(e, &pool); reason != "" {
			mu.Lock()
			reasons[e.Attachment] = reason
			mu.Unlock()
			continue
		}
		work.Go(func() error {
			if err := u.BringOne(ctx, e.Attachment, config); err != nil {
				reason := u.Lagging.Rearranged.add(e, &pool, err)
				mu.Lock()
				defer mu.Unlock()
				reasons[e.Attachment] = reason
			}
			return nil
		})
	}
	_ = work.Wait() // errors are in the reasons
	u.Lagging.Rearranged.keep(reasons)
	return reasons
}

// logLagging names the first of the containers that lag.
func (u *Updater) logLagging(revision int64, reasons map[allocator.Attachment]record.Lag) {
	const most = 5
	named := 0
	for at, lag := range reasons {
		if named++; named > most {
			u.Log.Warn("more containers lag behind the configuration: see berthctl version", zap.Int64("revision", revision),
				zap.Int("in all", len(reasons)))
			return
		}
		u.Log.Warn("a container lags behind the configuration: see the reason", zap.Stringer("attachment", at), zap.Int64("revision", revision),
			zap.String("why", lag.Reason))
	}
}

// current reports whether an entry has what its pool configures for running containers. Interfaces of other plugins and name
// resolution are outdated's.
func current(e *journal.Entry, pool *allocator.Pool) bool {
	return e.Wiring.Port == "" || reflect.DeepEqual(e.Wiring, plan.Rewired(e.Wiring, pool))
}

// BringOne brings one container to a configuration.
func (u *Updater) BringOne(ctx context.Context, at allocator.Attachment, config *config.Config) error {
	unlock, err := u.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	e := u.Journal.Get(at)
	if e == nil {
		return nil // it is gone
	}
	pool := config.Pools[e.Pool]
	next := *e
	next.Wiring, next.Revision = plan.Rewired(e.Wiring, &pool), config.Revision
	ns, err := u.Kernel().FindNamespace(e.Netns, e.Inode) // none is kept open, because an open namespace stays alive
	if err != nil {
		return fmt.Errorf("the network namespace of %s: %w: let the agent share the host's /run and process ids", at, err)
	}
	defer ns.Close()
	if !next.Wiring.Unsure {
		if _, err := u.Host.Ensure(&next, &pool); err != nil {
			return err
		}
	}
	to, from := plan.Port(&next, &pool), plan.Port(e, &pool)
	to.Netns, from.Netns = ns, ns
	if err := u.Kernel().Update(to, from); err != nil {
		return err
	}
	u.Gate.Shared(func() { err = u.Journal.Change(&next) })
	return err
}

// Revision is the version as this node knows it.
func (u *Updater) Revision() *wire.Revision {
	revision, applied := u.Config().Revision, u.Lagging.Revision()
	return &wire.Revision{Revision: revision, Applied: applied, Complete: applied == revision}
}
