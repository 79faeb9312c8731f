package reservation

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A cache has what the Store has last seen of reservations and stateful blocks. It only makes the first try of a transaction the
// likely one: every transaction compares what it relies on.
type cache struct {
	mu         sync.Mutex
	identities map[allocator.Identity][]record.Reservation
	stateful   map[ipam.BlockID]cachedBlock // the blocks that OwnerStateful has
}

// A cachedBlock is a stateful block as it was last seen.
type cachedBlock struct {
	revision int64
	machines []record.Part // addresses of nodes themselves, which nobody is given
}

// reset forgets all: another incarnation of the store has begun.
func (c *cache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identities, c.stateful = nil, nil
}

func (c *cache) reservations(u kv.Update[record.Reservation]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.Full {
		c.identities = nil
	}
	for _, r := range u.Set {
		c.learn(r)
	}
	for _, gone := range u.Gone {
		c.identities[gone.Identity] = slices.DeleteFunc(c.identities[gone.Identity], func(r record.Reservation) bool {
			return r.Pool == gone.Pool && r.Address == gone.Address && r.Revision <= u.Revision
		})
		if len(c.identities[gone.Identity]) == 0 {
			delete(c.identities, gone.Identity)
		}
	}
}

func (c *cache) learn(r record.Reservation) {
	if c.identities == nil {
		c.identities = map[allocator.Identity][]record.Reservation{}
	}
	known := c.identities[r.Identity]
	for i := range known {
		if known[i].Pool == r.Pool && known[i].Address == r.Address {
			if known[i].Revision < r.Revision {
				known[i] = r
			}
			return
		}
	}
	c.identities[r.Identity] = append(known, r)
}

// learnAll caches reservations that a transaction has read or written.
func (c *cache) learnAll(reservations ...record.Reservation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range reservations {
		c.learn(r)
	}
}

// forget drops an identity whose reservations were not as cached.
func (c *cache) forget(id allocator.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.identities, id)
}

// of are the reservations of an identity as they were last seen.
func (c *cache) of(id allocator.Identity) []record.Reservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.identities[id])
}

func (c *cache) blocks(u kv.Update[record.Block]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.Full {
		c.stateful = nil
	}
	for _, b := range u.Set {
		c.learnBlock(b)
	}
	for _, gone := range u.Gone {
		delete(c.stateful, ipam.BlockID{Pool: gone.Pool, Prefix: gone.Prefix})
	}
}

func (c *cache) learnBlock(b record.Block) {
	if c.stateful == nil {
		c.stateful = map[ipam.BlockID]cachedBlock{}
	}
	at := ipam.BlockID{Pool: b.Pool, Prefix: b.Prefix}
	if b.Stateful() && c.stateful[at].revision < b.Revision {
		c.stateful[at] = cachedBlock{b.Revision, b.Machines()}
	}
}

// learnBlockRecord caches a block that a transaction has read or written.
func (c *cache) learnBlockRecord(b record.Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learnBlock(b)
}

// block is the mod revision of a stateful block; 0: nobody is known to own it.
func (c *cache) block(at ipam.BlockID) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stateful[at].revision
}

// machine is the node that has an address as its own; empty: none is known.
func (c *cache) machine(at ipam.BlockID, a netip.Addr) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.stateful[at].machines {
		if p.Prefix.Contains(a) {
			return p.Node
		}
	}
	return ""
}
