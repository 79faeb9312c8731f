package agent

import (
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/record"
)

// An outgoing is a part on its way to another owner, or to none. It leaves the allocator before etcd is asked, and
// comes back with the block's next word, if that says that it is this node's still.
type outgoing struct {
	space   spaceKey
	block   record.Block // as the transaction compares it
	part    netip.Prefix
	inDoubt bool // the answer was lost: it was carried out, or will be, or never will
}

// takeOut takes a part out of the allocator, which chooses it, and notes that it is on its way; nil: there is none.
func (a *manager) takeOut(k spaceKey, choose func(*allocator.Space) (netip.Prefix, bool)) *outgoing {
	p := &a.pools
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
	block, ok := a.blocks.at(ipam.BlockID{Pool: k.pool, Prefix: s.BlockOf(part.Addr())})
	if !ok {
		return nil // etcd has no record of it: it is not this node's to give, nor to use
	}
	o := &outgoing{space: k, block: block, part: part}
	p.out = append(p.out, o)
	return o
}

// arrived ends a part's way: what the block is now, or what is known of it that is newer, decides whose it is. The
// gate is not held.
func (a *manager) arrived(o *outgoing, now record.Block) {
	if now.Revision == 0 {
		now.Revision = o.block.Revision // it has no record, and no word of it up to there counts any more
	}
	a.blocks.ended(now)
	if now.OwnerOf(o.part.Addr()) != a.Name {
		a.Journal.ForgetWithin(o.space.pool, o.part)
	}
	a.pools.mu.Lock()
	a.pools.out = slices.DeleteFunc(a.pools.out, func(each *outgoing) bool { return each == o })
	a.pools.mu.Unlock()
	a.Gate.Shared(func() { a.reconcile(keyOf(o.block)) })
}

// doubt keeps a part out until it is settled what has become of it.
func (a *manager) doubt(o *outgoing) {
	a.pools.mu.Lock()
	defer a.pools.mu.Unlock()
	o.inDoubt = true
}

// doubts are the parts of which it is not known what has become of them.
func (a *manager) doubts() []*outgoing {
	a.pools.mu.Lock()
	defer a.pools.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.pools.out), func(o *outgoing) bool { return !o.inDoubt })
}

// kept is what of a block the allocator may not own though it is this node's: it is on its way out, a journal that is lost
// may have handed out of it, or only an etcd that recovers says so. A doubt ends with a word of the block that is newer than
// what was compared: no
// transaction that compares less can be carried out any more. The lock is held.
func (p *pools) kept(k ipam.BlockID, now record.Block, own []netip.Prefix) (kept []netip.Prefix) {
	p.out = slices.DeleteFunc(p.out, func(o *outgoing) bool {
		return o.inDoubt && keyOf(o.block) == k && now.Revision != o.block.Revision
	})
	for _, o := range p.out {
		if keyOf(o.block) == k {
			kept = append(kept, o.part)
		}
	}
	return slices.Concat(kept, p.shunned.of(k, own), p.alleged[k])
}
