package agent

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// pools holds the addresses that this node may hand out: one allocator.Space for each pool and family. What is out or
// shunned is in none of them, whatever etcd says.
type pools struct {
	mu      sync.Mutex
	spaces  map[spaceKey]*allocator.Space
	out     []*outgoing
	shunned shunned
	alleged map[ipam.BlockID][]netip.Prefix // only an etcd that recovers says that they are this node's
}

type spaceKey struct {
	pool   string
	family allocator.Family
}

// configure takes a new configuration: new pools get a space, the space of a removed pool stays as long as it has parts.
func (p *pools) configure(c *config.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spaces == nil {
		p.spaces = map[spaceKey]*allocator.Space{}
	}
	for name, pool := range c.Pools {
		for _, f := range pool.Families() {
			k := spaceKey{name, f}
			if s, ok := p.spaces[k]; ok {
				s.Configure(&pool)
			} else {
				p.spaces[k] = allocator.NewSpace(&pool, f)
			}
		}
	}
	for k, s := range p.spaces {
		if _, ok := c.Pools[k.pool]; !ok && len(s.Parts()) == 0 {
			delete(p.spaces, k)
		}
	}
}

// settle ends what was on its way out, drops what is in no block, and with forgotten shuns what the node owns. Where held
// is not nil, what the node owns by etcd's word alone is alleged.
func (p *pools) settle(blocks []record.Block, node string, held holdings, forgotten bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = nil
	p.alleged = held.alleged(blocks, node)
	if forgotten {
		p.shunned.all(blocks, node)
	}
	there := map[ipam.BlockID]bool{}
	for _, b := range blocks {
		there[keyOf(b)] = true
	}
	for k, s := range p.spaces {
		for _, block := range s.Blocks() {
			if !there[ipam.BlockID{Pool: k.pool, Prefix: block}] {
				s.Drop(block) // etcd has no record of it any more, and nothing of it is in use
			}
		}
	}
}

func (p *pools) take(k spaceKey, app allocator.App, now allocator.Instant, cooling bool) (allocator.Grant, allocator.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		return s.Take(app, now, cooling)
	}
	return allocator.Grant{}, allocator.Exhausted
}

// takeAddress takes one that was asked for by name; the errors are the allocator's.
func (p *pools) takeAddress(k spaceKey, a netip.Addr, now allocator.Instant) (allocator.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		s.Settle(now)
		return s.TakeAddress(a)
	}
	return allocator.Grant{}, allocator.ErrNotOwned
}

// on runs f on the space of an address; where this node has none, it does nothing.
func (p *pools) on(pool string, a netip.Addr, f func(*allocator.Space)) {
	p.with(spaceKey{pool, allocator.FamilyOf(a)}, f)
}

func (p *pools) with(k spaceKey, f func(*allocator.Space)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.spaces[k]; ok {
		f(s)
	}
}

func (p *pools) release(pool string, a netip.Addr, app allocator.App, now allocator.Instant, quarantine time.Duration) {
	p.on(pool, a, func(s *allocator.Space) { s.Release(a, app, now, quarantine) })
}

func (p *pools) counts(k spaceKey) (c allocator.Counts) {
	p.with(k, func(s *allocator.Space) { c = s.Counts() })
	return c
}

// spaceParts are the parts that the allocator owned at some moment, in order.
type spaceParts map[spaceKey][]netip.Prefix

func (p *pools) parts() spaceParts {
	all := spaceParts{}
	p.each(func(k spaceKey, s *allocator.Space) { all[k] = s.Parts() })
	return all
}

// around is the part that an address lies in, or the address alone where none is owned.
func (all spaceParts) around(pool string, a netip.Addr) netip.Prefix {
	parts := all[spaceKey{pool, allocator.FamilyOf(a)}]
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

// keys are those of all spaces.
func (p *pools) keys() []spaceKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.spaces))
}

// each runs f on every space.
func (p *pools) each(f func(spaceKey, *allocator.Space)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, s := range p.spaces {
		f(k, s)
	}
}
