// Package attach serves the plugin's requests for containers: ADD, DEL, CHECK and GC (CNI specification 1.1.0). The steps of an
// ADD are begin, choose, hold, wire and commit; where one fails they are undone in reverse order. Containers that are gone
// without a DEL are found by evidence from the kernel.
package attach

import (
	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/apart"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/conflict"
	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/machine"
	"github.com/berth-ipam/berth/agent/member"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/agent/routes"
	"github.com/berth-ipam/berth/agent/update"
)

// Parts are the parts of the agent that ADD and DEL use.
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
	Routes    *routes.Keeper
	Apart     *apart.Keeper
}
