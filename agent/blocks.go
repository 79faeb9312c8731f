package agent

import (
	"net/netip"
	"sync"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
)

// blocks is what this node knows of the cluster's blocks, its own among them. It can be behind etcd: it only guides
// choices, and every claim is decided by etcd.
type blocks struct {
	mu   sync.Mutex
	all  map[blockKey]lease.Block
	seen int64 // the revision up to which the watch has told
}

type blockKey struct {
	pool   string
	prefix netip.Prefix
}

// take brings in what the watch says and returns the blocks that are news.
func (b *blocks) take(u lease.Update[lease.Block]) (news []lease.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = max(b.seen, u.Revision)
	before := b.all
	if u.Full {
		b.all = map[blockKey]lease.Block{}
		for k, old := range before {
			if old.Revision > u.Revision {
				b.all[k] = old
			}
		}
	}
	for _, block := range u.Set {
		if b.learn(block) {
			news = append(news, block)
		}
	}
	for _, gone := range u.Gone {
		for k, old := range b.all {
			if k.pool == gone.Pool && k.prefix.Addr() == gone.Prefix.Addr() && old.Revision < u.Revision {
				delete(b.all, k)
			}
		}
	}
	return news
}

// put brings in one block that a transaction of ours has shown.
func (b *blocks) put(block lease.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learn(block)
}

func (b *blocks) learn(block lease.Block) bool {
	if b.all == nil {
		b.all = map[blockKey]lease.Block{}
	}
	k := blockKey{block.Pool, block.Prefix}
	if old, ok := b.all[k]; ok && old.Revision >= block.Revision {
		return old.Revision == block.Revision
	}
	b.all[k] = block
	return true
}

// reset forgets all: etcd is another.
func (b *blocks) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.seen = nil, 0
}

// in are the blocks of a pool and family, in no order.
func (b *blocks) in(k spaceKey) (all []lease.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, block := range b.all {
		if key.pool == k.pool && allocator.FamilyOf(key.prefix.Addr()) == k.family {
			all = append(all, block)
		}
	}
	return all
}

// get is the block of which part is a part.
func (b *blocks) get(k spaceKey, part netip.Prefix) (lease.Block, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, block := range b.all {
		if key.pool == k.pool && key.prefix.Contains(part.Addr()) {
			return block, true
		}
	}
	return lease.Block{}, false
}

func (b *blocks) drop(block lease.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := blockKey{block.Pool, block.Prefix}
	if b.all[k].Revision == block.Revision {
		delete(b.all, k)
	}
}

func (b *blocks) used(pool string) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		_, ok := b.all[blockKey{pool, p}]
		return ok
	}
}

// of is the block that an address lies in.
func (b *blocks) of(pool *allocator.Pool, a netip.Addr) (lease.Block, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	block, ok := b.all[blockKey{pool.Name, pool.BlockOf(a)}]
	return block, ok
}

// owner is whose the address is by the block's parts; empty: nobody's.
func owner(b lease.Block, a netip.Addr) string {
	for _, p := range b.Parts {
		if p.Prefix.Contains(a) {
			return p.Owner
		}
	}
	return ""
}

// parts are those of the block that the owner has.
func parts(b lease.Block, owner string) []lease.Part {
	var own []lease.Part
	for _, p := range b.Parts {
		if p.Owner == owner {
			own = append(own, p)
		}
	}
	return own
}
