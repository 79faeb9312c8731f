package addresses

import (
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// An InFlight is a part on its way to another owner, or to none. It leaves the allocator before etcd is asked, and
// comes back with the block's next word, if that says that it is this node's still.
type InFlight struct {
	Space         SpaceKey
	Block         record.Block // as the transaction compares it
	Part          netip.Prefix
	indeterminate bool // the answer was lost: it was carried out, or will be, or never will
}

// Withdraw takes a part out of the allocator, which chooses it, and notes that it is on its way; nil: there is none.
func (m *Manager) Withdraw(k SpaceKey, choose func(*allocator.Space) (netip.Prefix, bool)) *InFlight {
	p := &m.Pools
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.spaces[k]
	if !ok {
		return nil
	}
	part, ok := choose(s)
	if !ok {
		return nil
	}
	block, ok := m.Blocks.At(ipam.BlockID{Pool: k.Pool, Prefix: s.BlockOf(part.Addr())})
	if !ok {
		return nil // etcd has no record of it: it is not this node's to give, nor to use
	}
	o := &InFlight{Space: k, Block: block, Part: part}
	p.inFlight = append(p.inFlight, o)
	return o
}

// Resolved ends a part's way: what the block is now, or what is known of it that is newer, decides whose it is. The
// gate is not held.
func (m *Manager) Resolved(o *InFlight, now record.Block) {
	if now.Revision == 0 {
		now.Revision = o.Block.Revision // it has no record, and no word of it up to there counts any more
	}
	m.Blocks.Ended(now)
	if now.OwnerOf(o.Part.Addr()) != m.Name {
		m.Journal.ForgetWithin(o.Space.Pool, o.Part)
	}
	m.Pools.mu.Lock()
	m.Pools.inFlight = slices.DeleteFunc(m.Pools.inFlight, func(each *InFlight) bool { return each == o })
	m.Pools.mu.Unlock()
	m.Gate.Shared(func() { m.Reconcile(o.Block.ID()) })
}

// MarkIndeterminate keeps a part out until it is settled what has become of it.
func (m *Manager) MarkIndeterminate(o *InFlight) {
	m.Pools.mu.Lock()
	defer m.Pools.mu.Unlock()
	o.indeterminate = true
}

// Indeterminate are the parts of which it is not known what has become of them.
func (m *Manager) Indeterminate() []*InFlight {
	m.Pools.mu.Lock()
	defer m.Pools.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.Pools.inFlight), func(o *InFlight) bool { return !o.indeterminate })
}

// kept is what of a block the allocator may not own though it is this node's: it is on its way out, a journal that is lost
// may have handed out of it, or only an etcd that recovers says so. A doubt ends with a word of the block that is newer than
// what was compared: no
// transaction that compares less can be carried out any more. The lock is held.
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
