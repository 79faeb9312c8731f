package member

import (
	"context"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// followConfig keeps the configuration up to date.
func (k *Keeper) followConfig(ctx context.Context) error {
	return k.Store.Config.Follow(ctx, func(c *config.Config) {
		if k.Configure(c) {
			k.Log.Info("configuration", zap.Int64("revision", c.Revision), zap.String("pools", node.PoolNames(c)))
		}
	}, k.ConfigRead)
}

// isAwaited reports whether a reservation is of a container here that is cut until etcd records it.
func (k *Keeper) isAwaited(r record.Reservation) bool {
	its := ipam.Address{Pool: r.Pool, Addr: r.Address}
	isolator := k.Settler.isolator
	return isolator.Unidentified.Has(r.Holder.Attachment) || isolator.Awaits(func(at ipam.Address) bool { return at == its })
}

// followReservations keeps the view of the stateful addresses, and isolates containers whose address was given to another.
func (k *Keeper) followReservations(ctx context.Context) error {
	return k.Store.Reservations.Follow(ctx, func(u kv.Update[record.Reservation]) {
		node.Report(k.Node, u)
		k.Settler.addresses.Reserved.Apply(u)
		k.Settler.publisher.Orphans.Apply(u, k.Name, k.Settler.publisher.Knows)
		k.Settler.isolator.SettleUnsure(len(u.Repaired) > 0)
		for _, r := range u.Set {
			if r.Holder != nil && r.Holder.Node == k.Name && k.isAwaited(r) {
				k.Reassert.Raise() // a cut container may be recorded now: settling decides
			}
			if k.Settler.CompareHolder(r); k.Older(r) {
				k.Background.Go(func() { k.CompareLate(ctx, r) })
			}
		}
		for _, r := range u.Gone {
			if e := k.Journal.Holder(r.Pool, r.Address); e != nil && e.Answered != 0 && e.Identity() == r.Identity {
				k.Reassert.Raise() // a reservation of a container here was detached: settling asserts it, or isolates the container
			}
		}
		k.ToldReservations(u)
	})
}

// Older reports whether an update attaches to another what an unisolated container here has by a later epoch.
func (k *Keeper) Older(r record.Reservation) bool {
	e := k.Journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil || r.Identity != e.Identity() || r.Epoch >= e.Epoch || e.Isolated != nil {
		return false
	}
	return r.Holder.Attachment != e.Attachment || r.Holder.Node != k.Name
}

// CompareLate reads whether an update with an earlier epoch is only late. If it is current, the identity's reservation was ended
// and made again, so that its epochs restart at one: then settling isolates.
func (k *Keeper) CompareLate(ctx context.Context, r record.Reservation) {
	now, err := k.Store.Reservations.Of(ctx, r.Pool, r.Address)
	if err != nil || now != nil && now.Revision == r.Revision {
		k.Reassert.Raise()
	}
}

func (k *Keeper) followNodes(ctx context.Context) error {
	return k.Store.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) {
		node.Report(k.Node, u)
		k.Absences.ApplyNodes(u)
		k.ToldNodes(u)
	})
}

func (k *Keeper) followSessions(ctx context.Context) error {
	return k.Store.Sessions.FollowSessions(ctx, func(u kv.Update[record.Presence]) {
		node.Report(k.Node, u)
		k.Absences.ApplySessions(u)
		for _, p := range u.Gone {
			if p.Node == k.Name {
				k.SessionGone(p.Revision)
			}
		}
	})
}

// SessionGone ends the session of a generation as soon as the watch reports its key as deleted; the next renewal would notice it
// only later.
func (k *Keeper) SessionGone(generation int64) {
	if s := k.Gate.Session(); s != nil && s.Generation() == generation {
		k.Lost.Raise()
	}
}
