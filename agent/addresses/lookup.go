package addresses

import (
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// IsUnreadable reports whether the view of a pool's block cannot be relied on.
func (b *blocks) IsUnreadable(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := ipam.Address{Pool: pool, Addr: block.Addr()}
	written, known := b.first[at]
	return b.unreadable.unread[at] || known && written != block
}

// UnreadableIn are the unreadable blocks of a pool.
func (b *blocks) UnreadableIn(name string, c *config.Config) (all []netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := c.Pools[name]
	for at := range b.unreadable.unread {
		if block := pool.BlockOf(at.Addr); at.Pool == name && block.IsValid() {
			all = append(all, block)
		}
	}
	return all
}

// hasLeft reports whether the key of a pool's block has just been deleted.
func (b *blocks) hasLeft(pool string, block netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, there := b.unreadable.left[ipam.Address{Pool: pool, Addr: block.Addr()}]
	return there && time.Since(since) <= leftTime
}

// in are the blocks of a pool and family, in no order.
func (b *blocks) in(k SpaceKey) (all []record.Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, block := range b.all {
		if key.Pool == k.Pool && allocator.FamilyOf(key.Prefix.Addr()) == k.Family {
			all = append(all, block)
		}
	}
	return all
}

func (b *blocks) at(k ipam.BlockID) (record.Block, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	block, ok := b.all[k]
	return block, ok
}

// used reports whether a block of the pool has no usable address without an owner.
func (b *blocks) used(pool *allocator.Pool) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool {
		block, ok := b.at(ipam.BlockID{Pool: pool.Name, Prefix: p})
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
	return b.at(ipam.BlockID{Pool: pool.Name, Prefix: pool.BlockOf(a)})
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
