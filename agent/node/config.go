package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
)

// Configure installs a configuration that is newer than the present one, or whose damaged records differ, and reports whether it
// did. Nothing commits meanwhile. So the roll-out sees every attachment that is in the journal, and every later one commits under
// the new configuration.
func (n *Node) Configure(c *config.Config) (changed bool) {
	var former *config.Config
	n.Gate.Exclusive(func() {
		former = n.Config()
		if c.Revision < former.Revision || c.Revision == former.Revision && c.Read <= former.Read {
			return
		}
		if c = c.KeepKnown(former); c.Same(former) {
			return
		}
		n.ReportDamagedBy("configuration", c.Bad)
		n.config.Store(c)
		for _, hook := range n.hooks.ConfigLocked {
			hook(c)
		}
		changed = true
	})
	if changed {
		for _, hook := range n.hooks.ConfigChanged {
			hook(former, c)
		}
	}
	return changed
}

// Reset drops what is known only from etcd, because the store is another incarnation. No session of the former one commits any
// more. Journal and kernel stay as they are.
func (n *Node) Reset() {
	n.Gate.Exclusive(func() {
		n.Gate.OutliveLocked()
		n.config.Store(&config.Config{Settings: n.Config().Settings})
		n.Absences.reset()
		for _, hook := range n.hooks.ResetLocked {
			hook()
		}
	})
}

// Pool is a pool's present configuration.
func (n *Node) Pool(name string) (*allocator.Pool, *config.Config, error) {
	c := n.Config()
	if p, ok := c.Pools[name]; ok {
		return &p, c, nil
	}
	if bad := c.BadPool(name); bad != nil {
		return nil, nil, wire.Errorf(wire.CodeTryAgain, "pool %q cannot be used: %w: see berthctl doctor", name, bad)
	}
	if reason := n.WhyNotReady(); reason != "" && c.Revision == 0 {
		return nil, nil, wire.Errorf(wire.CodeTryAgain, "node %s does not know the configuration yet: %s", n.Name, reason)
	}
	return nil, nil, wire.Errorf(wire.CodeConfig, "pool %q is not configured (there are: %s): create it with berthctl apply", name,
		PoolNames(c))
}

// configReadTime bounds a read of etcd for a pool that this node does not know.
const configReadTime = 2 * time.Second

// PoolNow is Pool for callers that refuse a request without one. For an unknown pool it reads etcd first, because `berthctl
// apply` may have returned before the watch has delivered the change.
func (n *Node) PoolNow(ctx context.Context, name string) (*allocator.Pool, *config.Config, error) {
	pool, current, err := n.Pool(name)
	if err == nil || n.Config().Revision == 0 && n.WhyNotReady() != "" {
		return pool, current, err
	}
	read := n.reads.DoChan("the configuration", func() (any, error) { // concurrent callers share one read
		ctx, cancel := context.WithTimeout(context.Background(), configReadTime)
		defer cancel()
		return n.Store.Config.Read(ctx)
	})
	select {
	case answer := <-read:
		if answer.Err != nil {
			return nil, nil, wire.Errorf(wire.CodeTryAgain,
				"pool %q is not configured as far as node %s knows, and etcd cannot be asked whether it is by now: %w", name, n.Name, answer.Err)
		}
		n.Configure(answer.Val.(*config.Config))
	case <-ctx.Done():
	}
	return n.Pool(name)
}

// configurationUnreadable is the kind of finding about a configuration that etcd has and that cannot be read.
const configurationUnreadable = "configuration-unreadable"

// ConfigRead reports as a finding that the configuration cannot be read, and clears it where err is nil. Errors of the connection
// to etcd do not count.
func (n *Node) ConfigRead(err error) {
	if errors.Is(err, kv.ErrStoreReset) || kv.Unavailable(err) {
		return
	}
	if err == nil {
		n.unread.Store(nil)
		n.Findings.Clear(configurationUnreadable, "config/")
		return
	}
	reason := err.Error()
	n.unread.Store(&reason)
	n.Findings.Set(configurationUnreadable, "config/", reason,
		"look at the record with etcdctl and write it as it was: `berthctl get history` shows what was configured; the node goes on "+
			"with the last configuration that it could read, and refuses new containers")
}

// Unreadable is why etcd's configuration could not be read the last time; empty: it could.
func (n *Node) Unreadable() string {
	if reason := n.unread.Load(); reason != nil {
		return *reason
	}
	return ""
}

// PoolNames are those of a configuration, for people.
func PoolNames(c *config.Config) string {
	if len(c.Pools) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(c.Pools)), ", ")
}

// Allowed refuses an operation that is unknown, or that the settings switch off.
func (n *Node) Allowed(operation string) error {
	settings := n.Config().Settings
	if err := settings.Allow(operation); err != nil {
		return wire.Errorf(wire.CodeOperation, "%w", err)
	}
	return nil
}
