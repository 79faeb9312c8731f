package addresses

import (
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
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

	ToGive task.Signal // another node may get something
	Gained task.Signal // addresses were gained
}

// New makes the manager of a node's addresses. The quarantine comes from the journal.
func New(n *node.Node, i *isolation.Isolator, b *backlog.Backlog) *Manager {
	m := &Manager{Node: n, isolator: i, backlog: b, ToGive: task.NewSignal(), Gained: task.NewSignal()}
	m.Waiters.Signal = task.NewSignal()
	m.recallQuarantined()
	n.On(node.Hooks{
		ConfigLocked: []func(*config.Config){m.Pools.configure},
		ResetLocked:  []func(){m.Blocks.reset},
	})
	return m
}

// Run follows the cluster's blocks, until ctx ends.
func (m *Manager) Run(ctx context.Context) error { return m.followBlocks(ctx) }

// blocks is this node's view of the cluster's blocks. It can be behind etcd, and never goes back to an older revision. The
// allocator follows it for this node's own parts. For others' parts it only guides choices: etcd decides every claim.
type blocks struct {
	mu         lockorder.Subject
	all        map[ipam.BlockID]record.Block
	first      map[ipam.Address]netip.Prefix // the prefixes of those that all has, by their first addresses
	unreadable unreadable
	gone       map[ipam.BlockID]int64 // blocks that a transaction of this node has ended, at which revision, until the watch has passed it
	seen       int64                  // the revision that the watch has reached
	read       int64                  // the revision at which settling has read all blocks
}

// A change is an updated block, with the former value that was known.
type change struct{ Now, former record.Block }

// donor is the former owner of what a node has gained by the change; empty: the node gained nothing of another's.
func (c change) donor(node string) string {
	var had []netip.Prefix
	for _, p := range c.former.Of(node) {
		had = append(had, p.Prefix)
	}
	for _, p := range c.Now.Of(node) {
		for _, got := range allocator.Subtract(p.Prefix, had) {
			if from := c.former.OwnerOf(got.Addr()); from != "" && from != node {
				return from
			}
		}
	}
	return ""
}

// Apply applies an update of the watch. It returns the blocks that have changed, those that are gone, and those whose records are
// repaired.
func (b *blocks) Apply(u kv.Update[record.Block]) (changed []change, gone []ipam.BlockID, repaired []ipam.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	repaired = b.unreadable.apply(u)
	before, floor := b.all, b.read
	if u.Full {
		b.all, b.first = map[ipam.BlockID]record.Block{}, map[ipam.Address]netip.Prefix{}
		for k, old := range before {
			// An unreadable record is not absent: its last known value stays.
			if old.Revision > u.Revision || b.unreadable.unread[ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()}] {
				b.all[k], b.first[ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()}] = old, k.Prefix
			}
		}
		if u.Revision >= b.read {
			floor = 0
		}
	}
	for _, block := range u.Set {
		if former := before[block.ID()]; b.learn(block, floor) {
			changed = append(changed, change{block, former})
		}
	}
	for _, ended := range u.Gone {
		if k := ended.ID(); b.all[k].Revision < u.Revision {
			b.drop(k)
		}
		gone = append(gone, ended.ID())
	}
	for k := range before {
		if _, ok := b.all[k]; u.Full && !ok {
			gone = append(gone, k)
		}
	}
	b.seen = max(b.seen, u.Revision)
	for k, revision := range b.gone {
		if revision <= b.seen {
			delete(b.gone, k)
		}
	}
	return changed, gone, repaired
}

// settle replaces the view by all blocks, as they were read after the node joined with a generation. A block that is older and
// not among them is gone, also when a watch that is behind says otherwise.
func (b *blocks) settle(all []record.Block, generation int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	there := map[ipam.BlockID]bool{}
	for _, block := range all {
		there[block.ID()] = true
		b.learn(block, 0)
	}
	for k, old := range b.all {
		if !there[k] && old.Revision <= generation && !b.unreadable.unread[ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()}] {
			b.drop(k)
		}
	}
	b.read = generation
}

// Put adds a block that a transaction of this node has shown. A block without a revision has no record, and is ignored.
func (b *blocks) Put(block record.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if block.Revision > 0 {
		b.learn(block, b.read)
	}
}

// Ended adds what a transaction of this node has left of a block. Where nothing is left, older updates of the block are ignored.
func (b *blocks) Ended(block record.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(block.Parts) > 0 {
		b.learn(block, b.read)
		return
	}
	k := block.ID()
	if b.all[k].Revision > block.Revision {
		return
	}
	b.drop(k)
	if b.gone == nil {
		b.gone = map[ipam.BlockID]int64{}
	}
	if b.seen < block.Revision {
		b.gone[k] = block.Revision
	}
}

func (b *blocks) drop(k ipam.BlockID) {
	delete(b.all, k)
	delete(b.first, ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()})
}

// learn adds a block unless a newer revision is known; a block that is not known is added only if it is newer than floor. It
// reports whether the view has this revision then.
func (b *blocks) learn(block record.Block, floor int64) bool {
	if b.all == nil {
		b.all = map[ipam.BlockID]record.Block{}
	}
	k := block.ID()
	old, ok := b.all[k]
	switch {
	case ok && old.Revision >= block.Revision:
		return old.Revision == block.Revision
	case !ok && block.Revision <= max(floor, b.gone[k]):
		return false
	}
	delete(b.gone, k)
	if b.first == nil {
		b.first = map[ipam.Address]netip.Prefix{}
	}
	if at := (ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()}); !ok && b.first[at].IsValid() {
		delete(b.all, ipam.BlockID{Pool: k.Pool, Prefix: b.first[at]}) // one key has one record
	}
	b.all[k], b.first[ipam.Address{Pool: k.Pool, Addr: k.Prefix.Addr()}] = block, k.Prefix
	return true
}

// reset drops the view: the store is another incarnation.
func (b *blocks) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.first, b.gone, b.seen, b.read, b.unreadable = nil, nil, nil, 0, 0, unreadable{}
}

// In are the blocks of a pool and family, in no order.
func (b *blocks) In(k SpaceKey) (all []record.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, block := range b.all {
		if key.Pool == k.Pool && allocator.FamilyOf(key.Prefix.Addr()) == k.Family {
			all = append(all, block)
		}
	}
	return all
}

func (b *blocks) At(k ipam.BlockID) (record.Block, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	block, ok := b.all[k]
	return block, ok
}

// used reports whether a block of the pool has no usable address without an owner.
func (b *blocks) used(pool *allocator.Pool) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool {
		block, ok := b.At(ipam.BlockID{Pool: pool.Name, Prefix: p})
		if b.IsUnreadable(pool.Name, p) {
			return true
		}
		if !ok {
			return false
		}
		for _, free := range block.Uncovered() {
			if pool.HasUsable(free) {
				return false
			}
		}
		return true
	}
}

// Of is the block of an address.
func (b *blocks) Of(pool *allocator.Pool, a netip.Addr) (record.Block, bool) {
	return b.At(ipam.BlockID{Pool: pool.Name, Prefix: pool.BlockOf(a)})
}

// Machines are the known addresses that belong to a node itself.
func (b *blocks) Machines(node string) (all []ipam.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, block := range b.all {
		if len(block.Parts) == 1 && block.Parts[0].Owner != record.OwnerMachine {
			continue
		}
		for _, p := range block.Parts {
			if p.Owner == record.OwnerMachine && p.Node == node {
				all = append(all, ipam.Address{Pool: k.Pool, Addr: p.Prefix.Addr()})
			}
		}
	}
	return all
}
