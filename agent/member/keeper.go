package member

import (
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
)

// A Keeper keeps this node a member of the cluster: it joins, settles, keeps the session and its rights, and repeats this
// whenever etcd ends the session.
type Keeper struct {
	*node.Node
	Settler *Settler
	backlog *backlog.Backlog
	ready   func() // called whenever the node has become able to serve

	Recovery recovery
	passing  map[allocator.Class]bool // the classes that may pass by the last proof; used only by the goroutine of the session
	resettle task.Signal              // this node's fencing times or mode are to change
}
