package agent

import (
	"context"
	"errors"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
)

// startPatience is how long after its caller began a request waits for an agent that has just started: as long as the plugin waits
// for one that does not listen yet, so that to replace an agent fails nobody.
const startPatience = 5 * time.Second

// startLook is how often a request looks meanwhile.
const startLook = 10 * time.Millisecond

// awaitStart waits until this agent has settled what its node holds, for as long as the caller would wait for an agent that is
// away. Before that an ADD would meet what is not known yet: the configuration, and what was lost. Its error says what the
// agent waits for.
func (a *Agent) awaitStart(ctx context.Context, began allocator.Instant) error {
	end := wire.Boottime() + startPatience
	if began > 0 && began < wire.Boottime() {
		end = began + startPatience
	}
	for {
		reason := a.waiting.Load()
		if reason == nil {
			return nil
		}
		if wire.Boottime() >= end || ctx.Err() != nil {
			return wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", a.Node, *reason)
		}
		task.Pause(ctx, startLook)
	}
}

// configReadTime bounds the question whether a pool is configured that this node does not know.
const configReadTime = 2 * time.Second

// poolNow is pool for whoever is to refuse where there is none: before it says that a pool is not configured it asks etcd, since
// `berthctl apply` may have answered already, and the watch has not told yet.
func (a *Agent) poolNow(ctx context.Context, name string) (*allocator.Pool, *config.Config, error) {
	pool, current, err := a.pool(name)
	if err == nil || a.config.Load().Revision == 0 && a.waiting.Load() != nil {
		return pool, current, err
	}
	read := a.claims.DoChan("the configuration", func() (any, error) { // those who miss a pool at once share one question
		ctx, cancel := context.WithTimeout(context.Background(), configReadTime)
		defer cancel()
		return a.store.Config.Read(ctx)
	})
	select {
	case answer := <-read:
		if answer.Err != nil {
			return nil, nil, wire.Errorf(wire.CodeTryAgain,
				"pool %q is not configured as far as node %s knows, and etcd cannot be asked whether it is by now: %w", name, a.Node, answer.Err)
		}
		a.configure(answer.Val.(*config.Config))
	case <-ctx.Done():
	}
	return a.pool(name)
}

// configurationUnreadable is the kind of finding about a configuration that etcd has and that cannot be read.
const configurationUnreadable = "configuration-unreadable"

// configRead takes in whether the configuration could be read; err is nil where it could. That etcd is away is no fault of it.
func (a *Agent) configRead(err error) {
	if errors.Is(err, kv.ErrStoreReset) || kv.Unavailable(err) {
		return
	}
	if err == nil {
		a.unreadable.Store(nil)
		a.findings.Clear(configurationUnreadable, "config/")
		return
	}
	reason := err.Error()
	a.unreadable.Store(&reason)
	a.findings.Set(configurationUnreadable, "config/", reason,
		"look at the record with etcdctl and write it as it was: `berthctl get history` shows what was configured; the node goes on "+
			"with the last configuration that it could read, and refuses new containers")
}
