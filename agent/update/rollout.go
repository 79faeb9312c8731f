package update

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

const (
	rolloutParallel = 8 // containers that are brought to a new configuration at once
	rolloutRetry    = time.Second
	bridgeRetry     = time.Minute // while a container that cannot be updated uses a former gateway
)

// Run brings the running containers to each new configuration, and tries those that lag again, until ctx ends.
func (u *Updater) Run(ctx context.Context) error {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.Rollout:
		case <-retry:
		}
		config, restorations := u.Config(), u.Lagging.Begin()
		reasons := map[allocator.Attachment]record.Lag{}
		for at, reason := range u.outdated(ctx, u.Journal.Entries(), config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: true}
		}
		for at, reason := range u.bringTo(ctx, config) {
			reasons[at] = record.Lag{Attachment: at, Reason: reason, Remake: u.Lagging.Rearranged.is(at)}
		}
		bridges := u.Host.WithdrawGateways()
		if u.Lagging.Set(restorations, config.Revision, bridges, reasons) {
			u.logLagging(config.Revision, reasons)
			u.backlog.Signal.Raise() // the status has changed
		}
		switch retry = nil; {
		case u.Lagging.Rearranged.count() < len(reasons), !bridges && len(reasons) == 0:
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
		if !ok || e.Answered == 0 || plan.OtherMode(e.Wiring, &pool) {
			continue
		}
		fitted, err := u.Host.Fitted(&pool)
		if err != nil {
			mu.Lock()
			reasons[e.Attachment] = err.Error()
			mu.Unlock()
			continue
		}
		if current(e, fitted) {
			continue
		}
		if reason := u.Lagging.Rearranged.why(e, fitted); reason != "" {
			mu.Lock()
			reasons[e.Attachment] = reason
			mu.Unlock()
			continue
		}
		work.Go(func() error {
			if err := u.BringOne(ctx, e.Attachment, config); err != nil {
				reason := u.Lagging.Rearranged.add(e, fitted, err)
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
	return e.Wiring.Port == "" || reflect.DeepEqual(e.Wiring, plan.Rewired(e, pool))
}

// Reconsider has a roll-out begin where an entry that has just been answered has not what its pool configures: what fits between nodes
// may have changed since it was wired, and a roll-out passes by what is not answered.
func (u *Updater) Reconsider(e *journal.Entry, pool *allocator.Pool) {
	if fitted, err := u.Host.Fitted(pool); err != nil || !current(e, fitted) {
		u.Rollout.Raise()
	}
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
	last := config.Pools[e.Pool]
	pool, err := u.Host.Fitted(&last)
	if err != nil {
		return err
	}
	next := *e
	next.Wiring, next.Revision = plan.Rewired(e, pool), config.Revision
	if next.Wiring.Apart || e.Wiring.Apart {
		if err := u.apart.Apply(); err != nil {
			return err
		}
	}
	if err := u.Kernel().Restrict(plan.Member(&next)); err != nil { // also where its interface cannot be changed
		return err
	}
	ns, err := u.Kernel().FindNamespace(e.Netns, e.Inode) // none is kept open, because an open namespace stays alive
	if err != nil {
		return fmt.Errorf("the network namespace of %s: %w: let the agent share the host's /run and process ids", at, err)
	}
	defer ns.Close()
	if !next.Wiring.Unsure && !next.Wiring.Routed {
		if _, err := u.Host.Ensure(&next, pool); err != nil {
			return err
		}
	}
	to, from := plan.Port(&next, pool), plan.Port(e, pool)
	to.Netns, from.Netns = ns, ns
	if !to.Routed {
		from.Addresses = e.Wiring.Prefixes // not known of an entry of an older release
	}
	if err := u.Kernel().Update(to, from); err != nil {
		return err
	}
	u.Gate.Shared(func() { err = u.Journal.Change(&next) })
	return err
}
