package node

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
	"github.com/berth-ipam/berth/metrics"
	"github.com/berth-ipam/berth/netops"
)

// Options are what the parts of an agent know of the node that they serve, and what they work on.
type Options struct {
	Name    string // the node's, in the cluster
	Address string // where people find this node; only shown
	Machine string
	Boot    string
	Version string   // the program's
	Alone   bool     // the etcd is this machine's own, and nobody else uses it
	Prefix  string   // of all keys in etcd; empty: the usual one
	Etcd    []string // etcd's endpoints
	Spool   string   // the directory of notes about DELs that met no agent
	Log     *zap.Logger

	Journal  *journal.Journal
	Kernel   *netops.Kernel
	Store    *lease.Node
	Metrics  *metrics.Metrics
	Findings *findings.Board
}

// A Node is what all parts of an agent share: what they work on, the configuration, the session and its rights, the gate and
// the locks of attachments. The signals tell the part that keeps the session what has become of it.
type Node struct {
	Options

	Gate       Gate // an ADD commits only what its own generation chose
	Rights     *session.Rights
	Absences   Absences
	Locks      Locks
	Slots      Slots
	Background sync.WaitGroup // what tasks have begun and do not wait for

	Lost      task.Signal // the session's key is gone
	Untrusted task.Signal // nothing may pass before the next proof
	Reassert  task.Signal // what containers here have is to be asserted anew: the node settles once more
	Repairing task.Signal // somebody asked this node to settle anew

	Unsettled atomic.Bool // only in the build that is to be caught handing out before it settles

	hooks    Hooks
	config   atomic.Pointer[config.Config]
	reads    singleflight.Group
	waiting  atomic.Pointer[string]    // why nothing can be handed out; nil: it can
	unread   atomic.Pointer[string]    // why the configuration that etcd has cannot be read; nil: it could be, when it was read last
	recovers atomic.Pointer[time.Time] // when a recovery of etcd will be over, about; nil: there is none
	bad      damagedRecords
}

// parallel is how many requests work on the kernel at once.
const parallel = 64

// New makes the floor of an agent. Nothing can be handed out until Ready.
func New(o Options) *Node {
	n := &Node{Options: o, Rights: session.NewRights(wire.Boottime), Slots: NewSlots(parallel)}
	for _, s := range []*task.Signal{&n.Lost, &n.Untrusted, &n.Reassert, &n.Repairing} {
		*s = task.NewSignal()
	}
	n.SetNotReady("the agent is starting")
	n.config.Store(&config.Config{Settings: record.DefaultSettings()})
	return n
}

// SetNotReady records why nothing can be handed out.
func (n *Node) SetNotReady(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	n.waiting.Store(&reason)
}

// WhyNotReady is why nothing can be handed out; empty: it can.
func (n *Node) WhyNotReady() string {
	if reason := n.waiting.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Ready ends that the node waits, and reports whether it did.
func (n *Node) Ready() (waited bool) { return n.waiting.Swap(nil) != nil }

// Holding is the session under which something of a class may be chosen, or the reason why there is none.
func (n *Node) Holding(class allocator.Class) (*session.Session, error) {
	if reason := n.WhyNotReady(); reason != "" {
		return nil, wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", n.Name, reason)
	}
	if n.Rights.Remaining(class) <= 0 {
		return nil, wire.Errorf(wire.CodeTryAgain,
			"node %s has not reached etcd for longer than its right to hand out %s addresses lasts: look at its /readyz and at etcd", n.Name, class)
	}
	return n.Gate.Session(), nil
}

// Generation is that of the node's session; 0: it has none.
func (n *Node) Generation() int64 {
	if s := n.Gate.Session(); s != nil {
		return s.Generation()
	}
	return 0
}

// SettleAgain has the node settle once more, soon: something could not be done for now.
func (n *Node) SettleAgain() { time.AfterFunc(time.Second, n.Reassert.Raise) }

// Fencing is how this node fences under the settings. An agent with an etcd of its own, which nobody else uses, has nobody
// who could take anything: there strict mode does nothing.
func (n *Node) Fencing(s record.Settings) record.Settings {
	if n.Alone {
		s.Fencing = record.FencingEvidence
	}
	return s
}

// Strict reports whether this node is to fence strictly.
func (n *Node) Strict() bool { return n.Fencing(n.Config().Settings).Fencing == record.FencingStrict }
