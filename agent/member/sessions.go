package member

import (
	"context"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func (k *Keeper) followNodes(ctx context.Context) error {
	return k.Store.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) {
		node.Report(k.Node, u)
		k.Absences.ApplyNodes(u)
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
