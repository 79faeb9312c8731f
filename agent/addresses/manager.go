package addresses

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// A Manager knows which addresses are this node's: the parts of blocks that etcd records as its own, with what the journal
// records of each. It reconciles them whenever either changes.
type Manager struct {
	*node.Node
	isolator *isolation.Isolator
	backlog  *backlog.Backlog

	Pools     pools
	Blocks    blocks
	Waiters   waiters
	Requested requested
	Exhausted exhausted
	Reserved  reserved

	// OfMachines are the addresses of a part that nodes demand since their machines have them.
	OfMachines func(pool string, part netip.Prefix) []netip.Addr

	ToGive   task.Signal // another node may get something
	Gained   task.Signal // addresses were gained
	tookOver task.Signal // some of them from a node that is away
}

// New makes the manager of a node's addresses. The quarantine comes from the journal.
func New(n *node.Node, i *isolation.Isolator, b *backlog.Backlog) *Manager {
	m := &Manager{Node: n, isolator: i, backlog: b, ToGive: task.NewSignal(), Gained: task.NewSignal(), tookOver: task.NewSignal()}
	m.OfMachines = func(string, netip.Prefix) []netip.Addr { return nil }
	m.Waiters.Signal = task.NewSignal()
	for _, s := range m.Journal.Quarantined() {
		m.Pools.quarantined.add(ipam.BlockID{Pool: s.Pool, Prefix: s.Block}, s.Parts...)
	}
	n.On(node.Hooks{
		ConfigLocked: []func(*config.Config){m.Pools.configure},
		ResetLocked:  []func(){m.Blocks.reset},
	})
	return m
}

// machineRest is for how long an address that a machine has is not allocated: long enough for the machine to be recorded as its
// holder.
const machineRest = time.Minute

// restMachines keeps from being allocated what machines have of a part: this host, and those of nodes that demand it as their own. The
// allocator's lock is held.
func (m *Manager) restMachines(s *allocator.Space, pool string, part netip.Prefix) {
	for _, addr := range slices.Concat(m.HostWithin(part), m.OfMachines(pool, part)) {
		s.Barred(addr, m.Clock.Boot(), machineRest)
	}
}

// RestMachine keeps an address that another node's machine has from being allocated.
func (m *Manager) RestMachine(pool string, addr netip.Addr) {
	m.Pools.On(pool, addr, func(s *allocator.Space) { s.Barred(addr, m.Clock.Boot(), machineRest) })
}

// Freed says that an address of this node was freed or gained: it goes to an ADD that waits here, else to one elsewhere.
func (m *Manager) Freed(k SpaceKey) {
	m.Exhausted.ended(k.Pool)
	m.Waiters.wake(k)
	m.Requested.wake(k.Pool)
	m.ToGive.Raise()
}

// UntilRested is the time until the next quarantine ends, at most lookTime.
func (m *Manager) UntilRested(k SpaceKey) time.Duration {
	wait := lookTime
	m.Pools.With(k, func(s *allocator.Space) {
		if at, ok := s.Rest(); ok {
			wait = max(0, min(wait, at-m.Clock.Boot()))
		}
	})
	return wait + time.Millisecond
}

// NoteLostJournal finds out by this node's key whether another journal has served this boot. The journal records that before the
// key is rewritten: until the disk accepts it, the key goes on to name the other journal, so that it is noticed again.
func (m *Manager) NoteLostJournal(me, former *record.Node) {
	if former == nil || former.Boot != m.Boot || former.Journal == m.Journal.ID() {
		return
	}
	if err := m.Journal.SetLostJournal(); err != nil {
		m.Log.Error("cannot write down that another journal has served this boot; make room in the run directory", zap.Error(err))
		me.Journal = former.Journal
	}
}
