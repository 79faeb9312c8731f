package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Why an address could not be given or taken away.
var (
	ErrNotOwned    = errors.New("allocator: this node does not own the address")
	ErrHeld        = errors.New("allocator: the address is held, or was until just now")
	ErrExcluded    = errors.New("allocator: the address is excluded from its pool")
	ErrQuarantined = errors.New("allocator: the address was released too short a time ago")
)

// An Instant is a time on CLOCK_BOOTTIME: since boot, suspended or not.
type Instant = time.Duration

// A Source says where an address came from; its text is a label of the metrics.
type Source string

const (
	Fresh  Source = "owned"  // owned by the node
	Reused Source = "reused" // the same app had it before
)

// A Grant is an address that was allocated.
type Grant struct {
	Address netip.Addr
	Source  Source
	Probe   bool // probe the wire first: the part was another node's, or the wire may have hosts with addresses of their own
}

// An Outcome is the result of Allocate.
type Outcome int

const (
	Taken     Outcome = iota
	Cooling           // only addresses are left that another app released within the cooldown
	Exhausted         // nothing is left
)

// Counts are the addresses of a Space: each is counted once. Quarantines that have run out count until the next
// Settle, Take, Release or Idle.
type Counts struct {
	Free        int // never used by this node
	Released    int // used before, and free again
	Quarantined int // released, and not free yet
	Held        int
	Excluded    int // not held, and not to be chosen: excluded, gateway, network or broadcast address
}

// A Space is the addresses of one pool and one family that a node owns, and which of them are held. It allocates the same app's
// last released address, else the one that has been free longest. Each operation on an address takes constant time. It is not
// safe for concurrent use.
type Space struct {
	family          Family
	cidrs           []netip.Prefix
	bits            int // a block's prefix length
	reuse, cooldown time.Duration
	usable          []Range
	asking          bool // addresses that were never in use here are probed on the wire first

	blocks map[netip.Addr]int32 // a block's first address → its place in chunks
	chunks []chunk
	spare  []int32     // the chunks of which nothing is owned
	slots  []slot      // those of chunk n begin at n<<host
	lists  [kinds]list // that of absent stays empty
	apps   apps
}

// A chunk is a block of which the node owns something.
type chunk struct {
	base  netip.Addr
	owned int
}

// NewSpace is the Space of a valid pool and a family that the pool has. It owns nothing yet.
func NewSpace(p *Pool, f Family) *Space {
	s := &Space{family: f, bits: p.blockBits(f), blocks: map[netip.Addr]int32{}, apps: newApps()}
	for k := range s.lists {
		s.lists[k] = emptyList
	}
	s.Configure(p)
	return s
}

// Configure applies the pool's CIDRs, exclusions, gateways, reuse and cooldown. They decide on later choices; what is held stays held.
func (s *Space) Configure(p *Pool) {
	s.reuse, s.cooldown = time.Duration(p.Reuse), time.Duration(p.Cooldown)
	if p.Draining {
		s.reuse, s.cooldown = 0, 0 // no app returns for what it released
	}
	s.cidrs, s.usable = p.CIDRsOf(s.family), p.usable(s.family)
	for i := range s.slots {
		i, t := int32(i), &s.slots[i]
		if t.state == absent || t.excluded == !within(s.usable, s.address(i)) {
			continue
		}
		s.leave(i)
		t.excluded = !t.excluded
		s.enter(i)
	}
}

// Add makes the addresses of part, a block or a part of one, the node's own. What it owns already stays as it is. With probe they
// are granted with Probe until they have been in use. A part of another pool is ignored. It returns how many were added.
func (s *Space) Add(part netip.Prefix, probe bool) (added int) {
	inside := slices.ContainsFunc(s.cidrs, func(c netip.Prefix) bool { return c.Contains(part.Addr()) })
	if !inside || part.Bits() < s.bits {
		return 0
	}
	n := s.chunkOf(part.Addr())
	if n == nowhere {
		n = s.newChunk(part.Addr())
	}
	from, to := s.bounds(part, n)
	for i := from; i < to; i++ {
		if s.slots[i].state == absent {
			s.slots[i] = slot{state: free, probe: probe, unasked: s.asking, excluded: !within(s.usable, s.address(i))}
			s.enter(i)
			s.chunks[n].owned++
			added++
		}
	}
	return added
}

// Remove removes the addresses of part, all or some of what was added. It is ErrHeld, and nothing is removed, while one of them
// is held or quarantined. Removing what the node does not own is no error.
func (s *Space) Remove(part netip.Prefix) error {
	if n := s.chunkOf(part.Addr()); n != nowhere && part.Bits() >= s.bits {
		from, to := s.bounds(part, n)
		if slices.ContainsFunc(s.slots[from:to], func(t slot) bool { return t.state == held || t.state == quarantined }) {
			return ErrHeld
		}
	}
	s.Drop(part)
	return nil
}

// Drop removes the addresses of part even if they are held: they belong to another node now.
func (s *Space) Drop(part netip.Prefix) {
	n := s.chunkOf(part.Addr())
	if n == nowhere || part.Bits() < s.bits {
		return
	}
	from, to := s.bounds(part, n)
	for i := from; i < to; i++ {
		if s.slots[i].state != absent {
			s.leave(i)
			s.apps.drop(s.slots[i].app)
			s.slots[i] = slot{}
			s.chunks[n].owned--
		}
	}
	if s.chunks[n].owned == 0 {
		delete(s.blocks, s.chunks[n].base)
		s.chunks[n] = chunk{}
		s.spare = append(s.spare, n)
	}
}

// Counts returns how many addresses are in which state.
func (s *Space) Counts() Counts {
	return Counts{
		Free:        s.lists[free].len + s.lists[unasked].len,
		Released:    s.lists[released].len,
		Quarantined: s.lists[quarantined].len,
		Held:        s.lists[held].len,
		Excluded:    s.lists[excluded].len,
	}
}

// Owns reports whether a is the node's own.
func (s *Space) Owns(a netip.Addr) bool { return s.find(a) != nowhere }

// OwnsAny reports whether anything is.
func (s *Space) OwnsAny() bool { return len(s.blocks) > 0 }

// BlockOf is the block that a lies in.
func (s *Space) BlockOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, s.bits).Masked() }

// Holds reports whether a is held.
func (s *Space) Holds(a netip.Addr) bool {
	i := s.find(a)
	return i != nowhere && s.slots[i].state == held
}

// Parts are the fewest prefixes, none larger than a block, that make up what the node owns, in order.
func (s *Space) Parts() []netip.Prefix {
	var parts []netip.Prefix
	for base := range s.blocks {
		parts = s.cover(netip.PrefixFrom(base, s.bits), parts)
	}
	slices.SortFunc(parts, netip.Prefix.Compare)
	return parts
}

// Blocks are those of which the node owns something, in no order.
func (s *Space) Blocks() []netip.Prefix {
	all := make([]netip.Prefix, 0, len(s.blocks))
	for base := range s.blocks {
		all = append(all, netip.PrefixFrom(base, s.bits))
	}
	return all
}

// Idle are the parts in which nothing is held, quarantined, or kept for its app or from others.
func (s *Space) Idle(now Instant) []netip.Prefix {
	s.Settle(now)
	return slices.DeleteFunc(s.Parts(), func(part netip.Prefix) bool {
		from, to := s.bounds(part, s.chunkOf(part.Addr()))
		return slices.ContainsFunc(s.slots[from:to], func(t slot) bool { return s.busy(&t, now) })
	})
}

func (s *Space) busy(t *slot, now Instant) bool {
	switch t.state {
	case released:
		if t.excluded { // nobody can be given it, so that it is kept for nobody
			return false
		}
		kept := s.cooldown
		if t.app != nobody {
			kept = max(kept, s.reuse)
		}
		return now < t.since+kept
	default:
		return t.state == held || t.state == quarantined
	}
}

// cover appends the fewest prefixes that make up what of part the node owns.
func (s *Space) cover(part netip.Prefix, parts []netip.Prefix) []netip.Prefix {
	from, to := s.bounds(part, s.chunkOf(part.Addr()))
	missing := func(t slot) bool { return t.state == absent }
	switch {
	case !slices.ContainsFunc(s.slots[from:to], missing):
		return append(parts, part)
	case part.IsSingleIP():
		return parts
	}
	lower, upper := halves(part)
	return s.cover(upper, s.cover(lower, parts))
}
