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

// cache are what the Store has last seen of reservations and stateful blocks. They only make the first try of a
// transaction the likely one: every transaction compares what it builds upon.
type cache struct {
	mu         sync.Mutex
	identities map[allocator.Identity][]record.Reservation
	stateful   map[ipam.BlockID]statefulBlockSeen // the blocks that OwnerStateful has
}

// A statefulBlockSeen is what a stateful block was like when it was seen last.
type statefulBlockSeen struct {
	revision int64
	machines []record.Part // addresses of nodes themselves, which nobody is given
}

// reset forgets all: etcd is another.
func (h *cache) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.identities, h.stateful = nil, nil
}

func (h *cache) reservations(u kv.Update[record.Reservation]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.Full {
		h.identities = nil
	}
	for _, r := range u.Set {
		h.learn(r)
	}
	for _, gone := range u.Gone {
		h.identities[gone.Identity] = slices.DeleteFunc(h.identities[gone.Identity], func(r record.Reservation) bool {
			return r.Pool == gone.Pool && r.Address == gone.Address && r.Revision <= u.Revision
		})
		if len(h.identities[gone.Identity]) == 0 {
			delete(h.identities, gone.Identity)
		}
	}
}

func (h *cache) learn(r record.Reservation) {
	if h.identities == nil {
		h.identities = map[allocator.Identity][]record.Reservation{}
	}
	known := h.identities[r.Identity]
	for i := range known {
		if known[i].Pool == r.Pool && known[i].Address == r.Address {
			if known[i].Revision < r.Revision {
				known[i] = r
			}
			return
		}
	}
	h.identities[r.Identity] = append(known, r)
}

// saw takes in reservations that a transaction has shown.
func (h *cache) saw(reservations ...record.Reservation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range reservations {
		h.learn(r)
	}
}

// forget drops an identity whose reservations were not as the hints said.
func (h *cache) forget(id allocator.Identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.identities, id)
}

// of are the reservations of an identity as they were last seen.
func (h *cache) of(id allocator.Identity) []record.Reservation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.identities[id])
}

func (h *cache) blocks(u kv.Update[record.Block]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u.Full {
		h.stateful = nil
	}
	for _, b := range u.Set {
		h.learnBlock(b)
	}
	for _, gone := range u.Gone {
		delete(h.stateful, ipam.BlockID{Pool: gone.Pool, Prefix: gone.Prefix})
	}
}

func (h *cache) learnBlock(b record.Block) {
	if h.stateful == nil {
		h.stateful = map[ipam.BlockID]statefulBlockSeen{}
	}
	at := ipam.BlockID{Pool: b.Pool, Prefix: b.Prefix}
	if !b.Stateful() {
		delete(h.stateful, at)
	} else if h.stateful[at].revision < b.Revision {
		h.stateful[at] = statefulBlockSeen{b.Revision, b.Machines()}
	}
}

// sawBlock takes in a block that a transaction has shown.
func (h *cache) sawBlock(b record.Block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learnBlock(b)
}

// forgetBlock drops a block that was not as the hints said.
func (h *cache) forgetBlock(at ipam.BlockID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.stateful, at)
}

// block is the mod revision of a stateful block; 0: nobody is known to own it.
func (h *cache) block(at ipam.BlockID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stateful[at].revision
}

// machine is the node whose own an address is; empty: it is none's, as far as is known.
func (h *cache) machine(at ipam.BlockID, a netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.stateful[at].machines {
		if p.Prefix.Contains(a) {
			return p.Node
		}
	}
	return ""
}
