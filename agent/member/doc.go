// Package member keeps this node a member of the cluster. It joins with a generation, settles what the node holds by etcd, and
// renews the session by proofs, each of which restarts the node's rights; in strict mode the kernel counts the rights too. It
// follows the configuration, the reservations, the nodes and their sessions, and handles the recovery of a restored etcd.
package member

import (
	"context"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// New makes a node's keeper. ready is called whenever the node has become able to serve.
func New(m *addresses.Manager, i *isolation.Isolator, p *publish.Publisher, b *backlog.Backlog, ready func()) *Keeper {
	k := &Keeper{
		Node: m.Node, Settler: newSettler(m, i, p), backlog: b, ready: ready,
		passing: map[allocator.Class]bool{}, resettle: task.NewSignal(),
	}
	k.On(node.Hooks{
		ConfigChanged: []func(former, now *config.Config){func(former, now *config.Config) {
			if !record.SameTimes(now.Settings, former.Settings) {
				k.resettle.Raise()
			}
		}},
	})
	k.Store.Sessions.OnStoreReset(k.OnStoreReset)
	return k
}

// Run keeps the node a member and follows etcd, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	return task.All(ctx, k.keepPresence, k.followConfig, k.followReservations, k.followNodes, k.followSessions, k.watchSleep)
}
