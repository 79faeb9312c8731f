package agent

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// An updater brings running containers to each new configuration, and knows which lag behind it.
type updater struct {
	*node.Node
	backlog *backlog
	host    *host.Keeper

	lagging lagging
	rollout task.Signal // the configuration is newer
}

func newUpdater(n *node.Node, b *backlog, h *host.Keeper) *updater {
	u := &updater{Node: n, backlog: b, host: h, rollout: task.NewSignal()}
	n.On(node.Hooks{
		ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { u.rollout.Raise() }},
		ResetLocked:   []func(){u.lagging.reset},
	})
	return u
}

// Run brings containers to each new configuration, until ctx ends.
func (a *updater) Run(ctx context.Context) error { return a.rollOut(ctx) }

const (
	rolloutParallel = 8 // containers that are brought to a new configuration at once
	rolloutRetry    = time.Second
	namedLaggards   = 200 // how many containers that lag the node's status names
	namedFindings   = 50  // how many findings it names: the value of a key in etcd is bounded
)

// lagging are the containers that have not got the present configuration, and the last revision that all of them had.
type lagging struct {
	mu      sync.Mutex
	seen    int64 // the revision that reasons speak of
	applied int64 // the newest that all of them have
	live    int64 // the newest that all of them have as far as a running one can get it
	bridges bool  // every bridge has what seen says
	reasons map[allocator.Attachment]record.Lag

	rearranged rearranged
}

// revision is the newest one that every container of this node has.
func (l *lagging) revision() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// liveRevision is the newest one that every container of this node has as far as a running one can get it.
func (l *lagging) liveRevision() int64 {
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

// set takes the outcome of a roll-out of one revision: which containers lag, and whether every bridge has it. It reports
// whether that is news.
func (l *lagging) set(revision int64, bridges bool, reasons map[allocator.Attachment]record.Lag) bool {
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

// drop forgets a container that is gone or was made anew, and reports whether that is news.
func (l *lagging) drop(at allocator.Attachment) bool {
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

// outdated is how many containers must be made anew.
func (l *lagging) outdated() int {
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

// status is what the node tells the cluster of itself. Of many containers that lag it names first those that a running
// one could follow.
func (a *updater) status() record.Status {
	s := record.Status{Address: a.Address, Version: a.Version, Containers: a.Journal.Len()}
	l := &a.lagging
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Revision, s.Applied, s.Live = l.seen, l.applied, l.live
	s.LaggingCount, s.RemakeCount = len(l.reasons), remakes(l.reasons)
	s.Lagging = slices.SortedFunc(maps.Values(l.reasons), func(a, b record.Lag) int {
		if a.Remake != b.Remake {
			return map[bool]int{false: -1, true: 1}[a.Remake]
		}
		return cmp.Compare(a.Attachment.String(), b.Attachment.String())
	})
	s.Lagging = s.Lagging[:min(len(s.Lagging), namedLaggards)] // the same ones each time: the status is written when it changes
	a.addFindings(&s)
	return s
}

// addFindings puts what stands into the node's status.
func (a *updater) addFindings(s *record.Status) {
	all := a.Findings.List()
	s.Findings, s.FindingsCount = all[:min(len(all), namedFindings)], len(all)
}

// rollOut brings the running containers to each new configuration, and tries those that lag again.
func (a *updater) rollOut(ctx context.Context) error {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.rollout:
		case <-retry:
		}
		config := a.Config()
		reasons := map[allocator.Attachment]record.Lag{}
		for at, reason := range a.outdated(ctx, a.Journal.Entries(), config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: true}
		}
		for at, reason := range a.bringTo(ctx, config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: a.lagging.rearranged.is(at)}
		}
		bridges := a.host.WithdrawGateways()
		if a.lagging.set(config.Revision, bridges, reasons) {
			a.logLagging(config.Revision, reasons)
			a.backlog.signal.Raise() // the status tells it
		}
		switch retry = nil; {
		case a.lagging.rearranged.count() < len(reasons), !bridges && len(reasons) == 0:
			retry = time.After(rolloutRetry)
		case !bridges: // those that cannot be reached go by former gateways
			retry = time.After(sweepEvery)
		}
	}
}

// bringTo brings every container to a configuration and returns those that did not get there, with the reasons.
func (a *updater) bringTo(ctx context.Context, config *config.Config) map[allocator.Attachment]string {
	a.host.Look() // its bridges come first
	reasons := map[allocator.Attachment]string{}
	var mu sync.Mutex
	var work errgroup.Group
	work.SetLimit(rolloutParallel)
	for _, e := range a.Journal.Entries() {
		pool, ok := config.Pools[e.Pool]
		if !ok || e.Answered == 0 || current(e, &pool) {
			continue
		}
		if reason := a.lagging.rearranged.why(e, &pool); reason != "" {
			mu.Lock()
			reasons[e.Attachment] = reason
			mu.Unlock()
			continue
		}
		work.Go(func() error {
			if err := a.bringOne(ctx, e.Attachment, config); err != nil {
				reason := a.lagging.rearranged.add(e, &pool, err)
				mu.Lock()
				defer mu.Unlock()
				reasons[e.Attachment] = reason
			}
			return nil
		})
	}
	_ = work.Wait() // the reasons tell
	a.lagging.rearranged.keep(reasons)
	return reasons
}

// logLagging names the first of the containers that lag.
func (a *updater) logLagging(revision int64, reasons map[allocator.Attachment]record.Lag) {
	const most = 5
	named := 0
	for at, lag := range reasons {
		if named++; named > most {
			a.Log.Warn("more containers lag behind the configuration: see berthctl version", zap.Int64("revision", revision),
				zap.Int("in all", len(reasons)))
			return
		}
		a.Log.Warn("a container lags behind the configuration: see the reason", zap.Stringer("attachment", at), zap.Int64("revision", revision),
			zap.String("why", lag.Reason))
	}
}

// current reports whether an entry has what its pool says of running containers. What another plugin wired, and name
// resolution, are out of Berth's hands: outdated sees to them.
func current(e *journal.Entry, pool *allocator.Pool) bool {
	return e.Wiring.Port == "" || reflect.DeepEqual(e.Wiring, plan.Rewired(e.Wiring, pool))
}

func (a *updater) bringOne(ctx context.Context, at allocator.Attachment, config *config.Config) error {
	unlock, err := a.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	e := a.Journal.Get(at)
	if e == nil {
		return nil // it has gone meanwhile
	}
	pool := config.Pools[e.Pool]
	next := *e
	next.Wiring, next.Revision = plan.Rewired(e.Wiring, &pool), config.Revision
	ns, err := a.openNamespace(e)
	if err != nil {
		return err
	}
	defer ns.Close()
	if !next.Wiring.Unsure {
		if _, err := a.host.Ensure(&next, &pool); err != nil {
			return err
		}
	}
	to, from := plan.Port(&next, &pool), plan.Port(e, &pool)
	to.Netns, from.Netns = ns, ns
	if err := a.Kernel.Update(to, from); err != nil {
		return err
	}
	a.Gate.Shared(func() { err = a.Journal.Change(&next) })
	return err
}

// revision is the version as this node knows it.
func (a *updater) revision() *wire.Revision {
	revision, applied := a.Config().Revision, a.lagging.revision()
	return &wire.Revision{Revision: revision, Applied: applied, Complete: applied == revision}
}
