package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// statefulPatience is how long stateful ADDs may be impossible before the node reports that it is not ready. Restarting etcd or
// electing its leader takes less.
const statefulPatience = time.Minute

// StatusOf is CNI STATUS (CNI specification 1.1.0, "STATUS"): whether an ADD of the network can be served. On an error, runtimes
// take a node out of service and orchestrators evict its containers. So it fails only where this node cannot serve the network at
// all. A full pool is full on every node, and the trouble of one container is reported by CHECK, the log and the metrics: neither
// is a reason.
func (re *Reporter) StatusOf(ctx context.Context, r *wire.Request) error {
	if err := re.AwaitStart(ctx, allocator.Instant(r.Started)); err != nil {
		return unavailable(err)
	}
	if err := re.serving(); err != nil {
		return unavailable(err)
	}
	if r.Role == wire.IPAM && re.Strict() {
		return unavailable(attach.ErrStrictIPAM)
	}
	name := r.Pool
	if name == "" {
		name = wire.DefaultPool
	}
	pool, config, err := re.PoolNow(ctx, name)
	if err != nil {
		return unavailable(err)
	}
	if len(pool.Stateful) > 0 {
		if err := re.statefulReady(); err != nil {
			return unavailable(err)
		}
	}
	if config.Settings.StatusExhausted && re.addresses.Exhausted.Lately(name, re.Clock.Boot()) {
		return unavailable(fmt.Errorf("pool %q is exhausted: an ADD on this node has waited for an address in vain within the last minute", name))
	}
	return nil
}

func unavailable(err error) error { return wire.Errorf(wire.CodeUnavailable, "%w", err) }

// serving says why this node can serve no ADD at all, or nil.
func (re *Reporter) serving() error {
	if reason := re.WhyNotReady(); reason != "" {
		return errors.New(reason)
	}
	if reason := re.Unreadable(); reason != "" {
		return fmt.Errorf("the configuration cannot be read: %s", reason)
	}
	if left := re.Rights.Remaining(allocator.Stateless); left <= 0 {
		return fmt.Errorf("no container can be served, stateless or stateful: this node has had no session in etcd for %s longer than "+
			"its address lease lasts", (-left).Round(time.Second))
	}
	if err := re.Journal.Room(); err != nil {
		return fmt.Errorf("new ADDs are refused, all else goes on: %w", err)
	}
	return nil
}

// NotReady says why this node can serve no ADD of a class that its pools have, or nil.
func (re *Reporter) NotReady() error {
	if err := re.serving(); err != nil {
		return err
	}
	for _, pool := range re.Config().Pools {
		if len(pool.Stateful) > 0 {
			return re.statefulReady()
		}
	}
	return nil
}

// statefulReady says why no stateful ADD has been possible for long, or nil.
func (re *Reporter) statefulReady() error {
	if left := re.Rights.Remaining(allocator.Stateful); left < -statefulPatience {
		return fmt.Errorf("no stateful container can be served: this node has had no session in etcd for %s longer than its right over "+
			"stateful addresses lasts (stateless ones go on for %s)",
			(-left).Round(time.Second), re.Rights.Remaining(allocator.Stateless).Round(time.Second))
	}
	return nil
}
