package node

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
	"github.com/berth-ipam/berth/metrics"
	"github.com/berth-ipam/berth/netops"
)

// Hooks are called when shared state changes. Those that end in Locked are called within the gate's Exclusive.
type Hooks struct {
	ConfigLocked  []func(now *config.Config)         // the configuration has changed
	ConfigChanged []func(former, now *config.Config) // all parts use the new one
	ResetLocked   []func()                           // what was known of etcd is void
	Restored      []func(at allocator.Attachment)    // the journal has an entry again that it had lost; the gate may be held

	// What the node follows in etcd has changed, and the parts that decide by it know.
	Blocks       []func(u kv.Update[record.Block])
	Reservations []func(u kv.Update[record.Reservation])
	Nodes        []func(u kv.Update[record.Node])
}

// Options are what an agent's parts know of their node from the start.
type Options struct {
	Name    string       // of the node in the cluster
	Address string       // where operators find this node; only shown. Empty: the first of its hops
	Hops    []netip.Addr // where other nodes send what is for containers of routed pools, one of a family; none: the host's are found
	Machine string       // identifies the machine
	Boot    string       // identifies the boot of the machine's containers
	Version string       // the program's
	RunDir  string       // the socket, the journal and the spool
	Etcd    kv.Options
	Alone   bool // etcd is embedded in this machine's agent, and no other node uses it
	Log     *zap.Logger

	// What is outside of the agent. What is nil is the machine's.
	Clock  clock.Clock
	Random *random.Source
	Disk   disk.Disk // of the run directory
}

// Spool is the directory of DELs that reached no agent.
func (o *Options) Spool() string { return filepath.Join(o.RunDir, "spool") }

// A Node is what all parts of an agent share: what they work on, the configuration, the session and its rights, the gate, and the
// attachments' locks. Its signals go to the member keeper.
type Node struct {
	Options

	Journal  *journal.Journal
	Store    *lease.Node
	Metrics  *metrics.Metrics
	Findings *findings.Board
	kernel   Kernel

	Gate       Gate // an ADD commits only under the session that it chose by
	Rights     *session.Rights
	Absences   Absences
	Locks      Locks
	Slots      Slots
	Background sync.WaitGroup // goroutines that no task waits for

	Lost      task.Signal // the session's key is gone
	Untrusted task.Signal // close the fence until the next proof
	Reassert  task.Signal // settle again, and assert what the containers have
	Repairing task.Signal // an operator asked this node to settle again

	host     atomic.Pointer[[]netops.HostAddress] // the host's own addresses, as they were last read
	hooks    Hooks
	config   atomic.Pointer[config.Config]
	reads    singleflight.Group
	waiting  atomic.Pointer[string]    // why nothing can be allocated; nil: it can
	unread   atomic.Pointer[string]    // why etcd's configuration could not be read the last time; nil: it could
	recovers atomic.Pointer[time.Time] // about when a recovery of etcd ends; nil: there is none
	bad      damagedRecords
}

// parallel is how many requests work on the kernel at once.
const parallel = 64

// New makes what an agent's parts share. Nothing can be allocated until Ready.
func New(o Options) *Node {
	o.Clock, o.Random = o.Clock.OrMachine(), o.Random.OrNew()
	o.Etcd.Clock, o.Etcd.Random = o.Clock, o.Random
	if o.Disk == nil {
		o.Disk = disk.Machine{}
	}
	n := &Node{Options: o, Rights: session.NewRights(o.Clock.Boot), Slots: NewSlots(parallel)}
	for _, s := range []*task.Signal{&n.Lost, &n.Untrusted, &n.Reassert, &n.Repairing} {
		*s = task.NewSignal()
	}
	n.SetNotReady("the agent is starting")
	n.config.Store(&config.Config{Settings: record.DefaultSettings()})
	return n
}

// SetNotReady records why nothing can be allocated.
func (n *Node) SetNotReady(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	n.waiting.Store(&reason)
}

// WhyNotReady is why nothing can be allocated; empty: it can.
func (n *Node) WhyNotReady() string {
	if reason := n.waiting.Load(); reason != nil {
		return *reason
	}
	return ""
}

// Ready clears the reason of SetNotReady, and reports whether there was one.
func (n *Node) Ready() (waited bool) { return n.waiting.Swap(nil) != nil }

// notReady is the error of a request that needs an address while the node has none to allocate.
func (n *Node) notReady(reason string) error {
	return wire.Errorf(wire.CodeTryAgain, "node %s allocates no address yet: %s", n.Name, reason)
}

// Holding is the session under which an address of a class may be allocated, or an error that says why there is none.
func (n *Node) Holding(class allocator.Class) (*session.Session, error) {
	if reason := n.WhyNotReady(); reason != "" {
		return nil, n.notReady(reason)
	}
	if n.Rights.Remaining(class) <= 0 {
		return nil, wire.Errorf(wire.CodeTryAgain,
			"node %s has not reached etcd for longer than its right to allocate %s addresses lasts: look at its /readyz and at etcd", n.Name, class)
	}
	return n.Gate.Session(), nil
}

// Generation is the session's generation; 0: there is no session.
func (n *Node) Generation() int64 {
	if s := n.Gate.Session(); s != nil {
		return s.Generation()
	}
	return 0
}

// SettleAgain has the node settle again in a second, because something has failed for now.
func (n *Node) SettleAgain() { time.AfterFunc(time.Second, n.Reassert.Raise) }

// Fencing is how this node fences under the settings. With embedded etcd no other node can take an address, so that strict mode
// does nothing.
func (n *Node) Fencing(s record.Settings) record.Settings {
	if n.Alone {
		s.Fencing = record.FencingEvidence
	}
	return s
}

// Strict reports whether this node is to fence strictly.
func (n *Node) Strict() bool { return n.Fencing(n.Config().Settings).Fencing == record.FencingStrict }

// LongestRights are the longest rights that a node of the cluster may have, as far as this node knows.
func (n *Node) LongestRights() map[allocator.Class]time.Duration {
	all := map[allocator.Class]time.Duration{}
	for _, class := range allocator.Classes {
		all[class] = max(n.Absences.longestRight(class), n.Rights.Duration(class))
		if c := n.Config(); c.Revision > 0 { // else the settings are not the cluster's
			all[class] = max(all[class], RightOf(record.Node{Session: c.Settings.Session, AddressLease: c.Settings.AddressLease}, class))
		}
	}
	return all
}

// UseKernel makes a kernel the node's. It is called before anything runs.
func (n *Node) UseKernel(k Kernel) { n.kernel = k }

// Kernel is the host's kernel. The caller holds no lock that spans no call: see the lock order.
func (n *Node) Kernel() Kernel {
	lockorder.Calls(lockorder.Kernel)
	return n.kernel
}

// On adds hooks. It is called before anything runs.
func (n *Node) On(h Hooks) {
	n.hooks.ConfigLocked = append(n.hooks.ConfigLocked, h.ConfigLocked...)
	n.hooks.ConfigChanged = append(n.hooks.ConfigChanged, h.ConfigChanged...)
	n.hooks.ResetLocked = append(n.hooks.ResetLocked, h.ResetLocked...)
	n.hooks.Restored = append(n.hooks.Restored, h.Restored...)
	n.hooks.Blocks = append(n.hooks.Blocks, h.Blocks...)
	n.hooks.Reservations = append(n.hooks.Reservations, h.Reservations...)
	n.hooks.Nodes = append(n.hooks.Nodes, h.Nodes...)
}

// Config is the present configuration. Its revision is 0 while none is known.
func (n *Node) Config() *config.Config { return n.config.Load() }

// EntryRestored says that the journal has an entry again that it had lost.
func (n *Node) EntryRestored(at allocator.Attachment) {
	for _, hook := range n.hooks.Restored {
		hook(at)
	}
}
