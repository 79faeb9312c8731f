package agent

import (
	"context"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// followConfig keeps the configuration up to date.
func (a *Agent) followConfig(ctx context.Context) error {
	return a.store.Config.Follow(ctx, func(c *config.Config) {
		if a.configure(c) {
			a.Log.Info("configuration", zap.Int64("revision", c.Revision), zap.String("pools", poolNames(c)))
		}
	}, a.configRead)
}

// configure takes a configuration that is newer than the present one, or of which records were damaged or mended since, and
// reports whether it was. Nothing commits while it changes, so that every attachment that is in the journal by then is seen
// by the roll-out, and every later one commits under the new configuration.
func (a *Agent) configure(c *config.Config) bool {
	var former *config.Config
	var changed, unasserted bool
	a.gate.Exclusive(func() {
		former = a.config.Load()
		if c.Revision < former.Revision || c.Revision == former.Revision && c.Read <= former.Read {
			return
		}
		if c = c.KeepKnown(former); c.Same(former) {
			return
		}
		a.tellBad("configuration", c.Bad)
		a.config.Store(c)
		a.pools.configure(c)
		changed, unasserted = true, a.unasserted(c)
	})
	if !changed {
		return false
	}
	if !sameTimes(c.Settings, former.Settings) {
		a.resettle.Raise()
	}
	if unasserted {
		a.reassert.Raise()
	}
	a.rollout.Raise()
	a.applyAsking()
	a.draining.Raise()
	a.machine.look.Raise()
	return true
}

// unasserted reports whether a configuration brings a pool that containers here have addresses of already: etcd had lost
// it, so that nothing of it could be asserted yet. A settling that has not begun asserts by the newer one. The gate is held.
func (a *Agent) unasserted(c *config.Config) bool {
	if a.asserted == nil {
		return false
	}
	for _, e := range a.journal.Entries() {
		_, there := c.Pools[e.Pool]
		if _, was := a.asserted.Pools[e.Pool]; there && !was {
			return true
		}
	}
	a.asserted = c // nothing is held of the pools that are new in it
	return false
}

// beginAsserting says that a settling begins, which asserts what is held by the present configuration.
func (a *Agent) beginAsserting() {
	a.gate.Exclusive(func() { a.asserted = a.config.Load() })
}

// sameTimes reports whether a node fences in the same way under both.
func sameTimes(a, b record.Settings) bool {
	return a.Fencing == b.Fencing && a.Session == b.Session && a.AddressLease == b.AddressLease
}

// followBlocks keeps the view of the cluster's blocks, and the allocator in agreement with it.
func (a *Agent) followBlocks(ctx context.Context) error {
	return a.store.Blocks.Follow(ctx, func(u kv.Update[record.Block]) {
		report(a, u)
		news, keys, mended := a.blocks.take(u)
		gone := slices.Clone(keys)
		a.tellMisfits(u.Set)
		changes := map[blockKey]change{}
		for _, c := range news {
			changes[keyOf(c.now)] = c
			keys = append(keys, keyOf(c.now))
		}
		if broken.Settling {
			return // the watch would settle in its stead
		}
		var gained []blockKey
		a.gate.Shared(func() { gained = a.reconcile(keys...) })
		a.gainedAgain(gained)
		a.assertGone(gone)
		a.unhide(mended)
		for _, k := range gained {
			if from := changes[k].giver(a.Node); from != "" {
				a.metrics.Gift("received")
				a.Log.Info("received addresses", zap.String("pool", k.pool), zap.Stringer("block", k.prefix), zap.String("from", from))
			}
		}
		a.waiters.wakeAll() // a block may be free
	})
}

// gainedAgain brings back to etcd's knowledge what is held of blocks that have come in: while a block's record could not be
// read, nothing of it was published, and who was found cut in it stayed so.
func (a *Agent) gainedAgain(gained []blockKey) {
	for _, k := range gained {
		for _, e := range a.journal.Within(k.pool, k.prefix) {
			if e.Class == allocator.Stateless {
				a.backlog.add(e.Pool, e.Addresses)
			}
		}
		if a.cutOff.any(func(at poolAddress) bool { return at.pool == k.pool && k.prefix.Contains(at.addr) }) {
			a.reassert.Raise()
		}
	}
}

// awaited reports whether a reservation speaks of a container here that is cut until etcd names it.
func (a *Agent) awaited(r record.Reservation) bool {
	return a.unread.has(r.Holder.Attachment) || a.cutOff.any(func(at poolAddress) bool { return at == poolAddress{r.Pool, r.Address} })
}

// followReservations keeps the view of the stateful addresses, and isolates whoever has one that moved on.
func (a *Agent) followReservations(ctx context.Context) error {
	return a.store.Reservations.Follow(ctx, func(u kv.Update[record.Reservation]) {
		report(a, u)
		a.reserved.take(u)
		a.strays.take(u, a.Node, a.knows)
		a.settleUnsure(len(u.Repaired) > 0)
		for _, r := range u.Set {
			if broken.Settling {
				continue
			}
			if r.Holder != nil && r.Holder.Node == a.Node && a.awaited(r) {
				a.reassert.Raise() // who is cut until etcd names it may be named now: settling tells
			}
			if a.compareHolder(r); a.older(r) {
				a.background.Go(func() { a.lookAgain(ctx, r) })
			}
		}
		for _, r := range u.Gone {
			if e := a.journal.Holder(r.Pool, r.Address); e != nil && e.Answered != 0 && e.Identity() == r.Identity {
				a.reassert.Raise() // somebody has given up what a container here has: it is asserted, or isolated, by settling
			}
		}
	})
}

// older reports whether a word attaches to another what a container here, which is not isolated, has by a later epoch.
func (a *Agent) older(r record.Reservation) bool {
	e := a.journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil || r.Identity != e.Identity() || r.Epoch >= e.Epoch || e.Isolated != nil {
		return false
	}
	return r.Holder.Attachment != e.Attachment || r.Holder.Node != a.Node
}

// lookAgain finds out whether a word of an earlier epoch is only late. If it holds, the identity's reservation has ended and
// was made anew, so that its epochs count from one again: then settling isolates.
func (a *Agent) lookAgain(ctx context.Context, r record.Reservation) {
	now, err := a.store.Reservations.Of(ctx, r.Pool, r.Address)
	if err != nil || now != nil && now.Revision == r.Revision {
		a.reassert.Raise()
	}
}

func poolNames(c *config.Config) string {
	if len(c.Pools) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(c.Pools)), ", ")
}
