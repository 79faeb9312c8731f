package addresses

import (
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

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
type change struct{ now, former record.Block }

// donor is the former owner of what a node has gained by the change; empty: the node gained nothing of another's.
func (c change) donor(node string) string {
	var had []netip.Prefix
	for _, p := range c.former.Of(node) {
		had = append(had, p.Prefix)
	}
	for _, p := range c.now.Of(node) {
		for _, got := range allocator.Subtract(p.Prefix, had) {
			if from := c.former.OwnerOf(got.Addr()); from != "" && from != node {
				return from
			}
		}
	}
	return ""
}

// tookOver reports whether a node owns something by the change that was another's while that was away.
func (c change) tookOver(node string) bool {
	return slices.ContainsFunc(c.now.Of(node), func(p record.Part) bool { return p.Taken })
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

// NoteUnreadable adds a damaged block that a transaction has found.
func (b *blocks) NoteUnreadable(e *kv.DamagedError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unreadable.unread == nil {
		b.unreadable.unread = map[ipam.Address]bool{}
	}
	if e.At.Kind == kv.KindBlock {
		b.unreadable.unread[ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}] = true
	}
}

// Park keeps an address whose assignment cannot be published until its block is repaired.
func (b *blocks) Park(block netip.Prefix, d ipam.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := ipam.Address{Pool: d.Pool, Addr: block.Addr()}
	if b.unreadable.parked == nil {
		b.unreadable.parked = map[ipam.Address]map[ipam.Address]struct{}{}
	}
	if b.unreadable.parked[at] == nil {
		b.unreadable.parked[at] = map[ipam.Address]struct{}{}
	}
	b.unreadable.parked[at][d] = struct{}{}
}

// unpark returns and drops what was parked for a block.
func (b *blocks) unpark(at ipam.Address) map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.unreadable.parked[at]
	delete(b.unreadable.parked, at)
	return kept
}
