package update

import (
	"github.com/berth-ipam/berth/agent/apart"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// An Updater brings running containers to each new configuration, and knows which lag behind it.
type Updater struct {
	*node.Node
	backlog *backlog.Backlog
	Host    *host.Keeper
	apart   *apart.Keeper

	Lagging lagging
	Rollout task.Signal // the configuration is newer
}

// New makes a node's updater.
func New(n *node.Node, b *backlog.Backlog, h *host.Keeper, apart *apart.Keeper) *Updater {
	u := &Updater{Node: n, backlog: b, Host: h, apart: apart, Rollout: task.NewSignal()}
	n.On(node.Hooks{
		ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { u.Rollout.Raise() }},
		ResetLocked:   []func(){u.Lagging.reset},
		Restored: []func(allocator.Attachment){func(at allocator.Attachment) {
			u.Lagging.Restored(at)
			u.Rollout.Raise()
		}},
	})
	return u
}

// namedFindings is how many findings the node's status names: the value of a key in etcd is bounded.
const namedFindings = 50

// Status is the node's present status.
func (u *Updater) Status() record.Status {
	s := record.Status{Address: u.Address, Version: u.Version, Containers: u.Journal.Len()}
	all := u.Findings.List()
	s.Findings, s.FindingsCount = all[:min(len(all), namedFindings)], len(all)
	u.Lagging.into(&s)
	return s
}

// Revision is the version as this node knows it.
func (u *Updater) Revision() *wire.Revision {
	revision, applied := u.Config().Revision, u.Lagging.Revision()
	return &wire.Revision{Revision: revision, Applied: applied, Complete: applied == revision}
}
