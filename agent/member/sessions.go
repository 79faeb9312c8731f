package member

import (
	"context"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func (a *Keeper) followNodes(ctx context.Context) error {
	return a.Store.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) {
		node.Report(a.Node, u)
		a.Absences.TakeNodes(u)
	})
}

func (a *Keeper) followSessions(ctx context.Context) error {
	return a.Store.Sessions.FollowSessions(ctx, func(u kv.Update[record.Presence]) {
		node.Report(a.Node, u)
		a.Absences.TakeSessions(u)
		for _, p := range u.Gone {
			if p.Node == a.Name {
				a.SessionGone(p.Revision)
			}
		}
	})
}

// SessionGone ends the session of a generation at once when the watch tells that its key is gone, as after a revocation by
// mistake: the next renewal would notice it only later.
func (a *Keeper) SessionGone(generation int64) {
	if s := a.Gate.Session(); s != nil && s.Generation() == generation {
		a.Lost.Raise()
	}
}
