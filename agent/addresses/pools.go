package addresses

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// A SpaceKey names a space: the two families of a pool are two spaces.
type SpaceKey struct {
	Pool   string
	Family allocator.Family
}

// pools holds the addresses that this node may allocate: one allocator.Space for each pool and family. What is in flight or in
// quarantine is in none of them, whatever etcd records.
type pools struct {
	mu          lockorder.Spaces
	spaces      map[SpaceKey]*allocator.Space
	inFlight    []*InFlight
	quarantined quarantined
	alleged     map[ipam.BlockID][]netip.Prefix // this node's only by the record of an etcd that recovers
}

// SpaceOf is the space of an address.
func SpaceOf(pool string, addr netip.Addr) SpaceKey {
	return SpaceKey{Pool: pool, Family: allocator.FamilyOf(addr)}
}

// configure applies a new configuration. A new pool gets a space; the space of what was removed stays as long as it has parts.
func (p *pools) configure(c *config.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spaces == nil {
		p.spaces = map[SpaceKey]*allocator.Space{}
	}
	for name, pool := range c.Pools {
		for _, f := range pool.Families() {
			k := SpaceKey{Pool: name, Family: f}
			if s, ok := p.spaces[k]; ok {
				s.Configure(&pool)
			} else {
				p.spaces[k] = allocator.NewSpace(&pool, f)
			}
		}
	}
	for k, s := range p.spaces {
		if pool, ok := c.Pools[k.Pool]; (!ok || !pool.Has(k.Family)) && len(s.Parts()) == 0 {
			delete(p.spaces, k)
		}
	}
}

// settle ends all transfers and drops what is in no block. With forgotten it quarantines all that the node owns. What is
// alleged is the node's by etcd's record alone.
func (p *pools) settle(blocks []record.Block, node string, alleged map[ipam.BlockID][]netip.Prefix, forgotten bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = nil
	p.alleged = alleged
	if forgotten {
		p.quarantined.addAll(blocks, node)
	}
	there := map[ipam.BlockID]bool{}
	for _, b := range blocks {
		there[b.ID()] = true
	}
	for k, s := range p.spaces {
		for _, block := range s.Blocks() {
			if !there[ipam.BlockID{Pool: k.Pool, Prefix: block}] {
				s.Drop(block) // it has no record any more, and nothing of it is in use
			}
		}
	}
}

func (p *pools) allocate(k SpaceKey, app allocator.App, now allocator.Instant, cooling bool) (allocator.Grant, allocator.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		return s.Allocate(app, now, cooling)
	}
	return allocator.Grant{}, allocator.Exhausted
}

// allocateAddress allocates a requested address; its errors are the allocator's.
func (p *pools) allocateAddress(k SpaceKey, a netip.Addr, now allocator.Instant) (allocator.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		s.Settle(now)
		return s.AllocateAddress(a)
	}
	return allocator.Grant{}, allocator.ErrNotOwned
}

// On runs f on the space of an address, if this node has it.
func (p *pools) On(pool string, a netip.Addr, f func(*allocator.Space)) {
	p.With(SpaceOf(pool, a), f)
}

func (p *pools) With(k SpaceKey, f func(*allocator.Space)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		f(s)
	}
}

func (p *pools) Release(pool string, a netip.Addr, app allocator.App, now allocator.Instant, quarantine time.Duration) {
	p.On(pool, a, func(s *allocator.Space) { s.Release(a, app, now, quarantine) })
}

func (p *pools) counts(k SpaceKey) (c allocator.Counts) {
	p.With(k, func(s *allocator.Space) { c = s.Counts() })
	return c
}

// spaceParts are the parts that the allocator owned at one moment, in order.
type spaceParts map[SpaceKey][]netip.Prefix

func (p *pools) parts() spaceParts {
	all := spaceParts{}
	p.Each(func(k SpaceKey, s *allocator.Space) { all[k] = s.Parts() })
	return all
}

// around is the part that contains an address, or the address alone where none does.
func (all spaceParts) around(pool string, a netip.Addr) netip.Prefix {
	parts := all[SpaceOf(pool, a)]
	after, _ := slices.BinarySearchFunc(parts, a, func(p netip.Prefix, a netip.Addr) int {
		if p.Contains(a) {
			return -1
		}
		return p.Addr().Compare(a)
	})
	if after > 0 && parts[after-1].Contains(a) {
		return parts[after-1]
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// Keys are the keys of all spaces.
func (p *pools) Keys() []SpaceKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.spaces))
}

// Each runs f on every space.
func (p *pools) Each(f func(SpaceKey, *allocator.Space)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, s := range p.spaces {
		f(k, s)
	}
}

// An InFlight is a part in transfer to another owner, or to none. It leaves the allocator before the transaction, and returns
// with a later update of the block that records it as this node's.
type InFlight struct {
	Space         SpaceKey
	Block         record.Block // as the transaction compares it
	Part          netip.Prefix
	indeterminate bool // the answer was lost: the transaction may have been carried out, may be yet, or may never be
}

// kept is what of this node's part of a block stays out of the allocator: it is in flight, in quarantine, or alleged by an etcd
// that recovers. An indeterminate transfer is resolved by an update of the block that is newer than its compares, because its
// transaction cannot succeed after that. The lock is held.
func (p *pools) kept(k ipam.BlockID, now record.Block, own []netip.Prefix) (kept []netip.Prefix) {
	p.inFlight = slices.DeleteFunc(p.inFlight, func(o *InFlight) bool {
		return o.indeterminate && o.Block.ID() == k && now.Revision != o.Block.Revision
	})
	for _, o := range p.inFlight {
		if o.Block.ID() == k {
			kept = append(kept, o.Part)
		}
	}
	return slices.Concat(kept, p.quarantined.of(k, own), p.alleged[k])
}

// QuarantineIPAM is how long an address that was released in the IPAM role is not allocated: the plugin above may release it
// before it deletes the interface.
const QuarantineIPAM = 2 * time.Second
