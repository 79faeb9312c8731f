package routes

import (
	"net/netip"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// A Kernel is what a keeper uses of the host's kernel. *netops.Kernel is one.
type Kernel interface {
	SetRouting(r netops.Routing) ([]netops.RefusedHop, error)
	ChangeHops(changed map[netip.Prefix]netops.Hop) ([]netops.RefusedHop, error)
}

// Options are what a keeper works on.
type Options struct {
	Node     string // this one's name
	Kernel   Kernel
	Config   func() *config.Config // the present one; revision 0: unknown
	Findings *findings.Board

	Routed func() // all routes were set; it does not block
}

// A Keeper keeps the routes to other nodes' containers. It is the only one that changes them.
type Keeper struct {
	Options
	known *known

	news task.Signal // known has changed
	host task.Signal // the host may have changed

	setting lockorder.Spanning // of one call of the kernel, and of the fields below; it may be taken under an attachment's lock
	set     pools              // what the last SetRouting was about
	cidrs   []netip.Prefix     // of all pools, flat ones, too
	tunnel  netops.TunnelSpec
	stands  bool // it has succeeded
	missing map[netip.Prefix]name
}

// New makes a node's keeper.
func New(o Options) *Keeper {
	return &Keeper{Options: o, known: newKnown(o.Node), news: task.NewSignal(), host: task.NewSignal()}
}

// Hooks are what tells the keeper of changes.
func (k *Keeper) Hooks() node.Hooks {
	return node.Hooks{
		ConfigChanged: []func(_, _ *config.Config){func(_, _ *config.Config) { k.news.Raise() }},
		ResetLocked:   []func(){k.known.reset},
		Blocks:        []func(kv.Update[record.Block]){func(u kv.Update[record.Block]) { k.known.applyBlocks(u); k.tell() }},
		Reservations:  []func(kv.Update[record.Reservation]){func(u kv.Update[record.Reservation]) { k.known.applyReservations(u); k.tell() }},
		Nodes:         []func(kv.Update[record.Node]){func(u kv.Update[record.Node]) { k.known.applyNodes(u); k.tell() }},
	}
}

func (k *Keeper) tell() {
	if k.known.pending() {
		k.news.Raise()
	}
}

// Changed has all routes compared with the kernel's soon: something may have disappeared, or a next hop may be reachable by now.
func (k *Keeper) Changed() { k.host.Raise() }
