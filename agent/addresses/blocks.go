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

// A Manager knows which addresses are this node's: the parts of blocks that it owns, as etcd says, with what the journal says
// of each. It is brought into agreement with both whenever either changes.
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

	ToGive task.Signal // there may be something to give to another node
	Gained task.Signal // addresses have come in
}

// New makes the manager of a node's addresses. Of what another journal of this boot may have handed out the journal tells.
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

// blocks is what this node knows of the cluster's blocks, its own among them. It can be behind etcd, and never goes
// back: what is known is newer than all that was known before. What it says of this node's own parts the allocator
// follows; of others' it only guides choices, and every claim is decided by etcd.
type blocks struct {
	mu         lockorder.Subject
	all        map[ipam.BlockID]record.Block
	first      map[ipam.Address]netip.Prefix // the prefixes of those that all has, by their first addresses
	unreadable unreadable
	gone       map[ipam.BlockID]int64 // blocks that a transaction of ours has ended, at which revision, until the watch has told
	seen       int64                  // the revision up to which the watch has told
	read       int64                  // the one since which settling has read all
}

// A change is a block that the watch has told of, as it is and as it was known before.
type change struct{ Now, former record.Block }

// donor is who had what of the block a node has got by the change; empty: it got nothing of another's.
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

// Apply brings in what the watch says. It returns the blocks that are news, those that are gone, and those whose records are
// mended.
func (b *blocks) Apply(u kv.Update[record.Block]) (changed []change, gone []ipam.BlockID, repaired []ipam.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	repaired = b.unreadable.apply(u)
	before, floor := b.all, b.read
	if u.Full {
		b.all, b.first = map[ipam.BlockID]record.Block{}, map[ipam.Address]netip.Prefix{}
		for k, old := range before {
			// What cannot be read is not gone: what was known of it stays.
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

// settle brings in all blocks as they were read after the node has joined with a generation: what was older and is not
// among them is gone, whatever a watch that is behind says of it.
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

// Put brings in one block that a transaction of ours has shown. Without a record it says nothing.
func (b *blocks) Put(block record.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if block.Revision > 0 {
		b.learn(block, b.read)
	}
}

// Ended brings in what a transaction of ours has left of a block. Where that is nothing, no older word of it counts any
// more.
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

// learn takes in a block unless something newer is known; a block that is not known it takes only if it is newer than
// floor. It reports whether the block is as it is known to be.
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

// reset forgets all: etcd is another.
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

// used tells of the pool's blocks in which no usable address is nobody's.
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

// Of is the block that an address lies in.
func (b *blocks) Of(pool *allocator.Pool, a netip.Addr) (record.Block, bool) {
	return b.At(ipam.BlockID{Pool: pool.Name, Prefix: pool.BlockOf(a)})
}

// Machines are the addresses that are a node's own by what is known of blocks.
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
