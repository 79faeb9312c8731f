// Package attach does what the plugin asks for one container: ADD, DEL, CHECK and GC (CNI specification 1.1.0). An ADD goes
// through begin, choose, hold, wire and commit, and is undone in the opposite order where one of them fails. What is gone without
// a DEL is found by evidence from the kernel.
package attach

import (
	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/conflict"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/machine"
	"github.com/berth-ipam/berth/agent/member"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/agent/update"
)

// Parts are those of the agent on which ADD and DEL work.
type Parts struct {
	*node.Node
	Isolator  *isolation.Isolator
	Addresses *addresses.Manager
	Chooser   *addresses.Chooser
	Detector  *conflict.Detector
	Machine   *machine.Keeper
	Publisher *publish.Publisher
	Updater   *update.Updater
	Member    *member.Keeper
	Backlog   *backlog.Backlog
	Host      *host.Keeper
}
