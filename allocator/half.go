package allocator

import (
	"net/netip"
	"slices"
)

// LargestHalf is how many addresses Half removes at most.
const LargestHalf = 64

// Half removes what the node can spare for a node that has no address: the largest aligned part in which nothing is held or
// quarantined and that has a usable address, with at most half of the usable free addresses beyond keep, or the last one. It
// prefers parts of never-used and cool addresses to any other. The blocks of besides are left as they are.
func (s *Space) Half(now Instant, keep int, besides ...netip.Prefix) (part netip.Prefix, ok bool) {
	s.Settle(now)
	spare := s.lists[free].len + s.lists[unasked].len + s.lists[released].len - keep
	if spare <= 0 {
		return part, false
	}
	h := halving{space: s, most: max(1, spare/2), now: now, besides: besides}
	if !h.search() {
		h.warm = true
		if !h.search() {
			return part, false
		}
	}
	s.Drop(h.best)
	return h.best, true
}

// Rest is when the first quarantine ends, if there is one.
func (s *Space) Rest() (Instant, bool) {
	if i := s.lists[quarantined].head; i != none {
		return s.slots[i].since, true
	}
	return 0, false
}

// A halving is the search for the part that Half removes.
type halving struct {
	space *Space
	most  int // usable addresses
	now   Instant
	warm  bool // those that are kept for their app or from others count, too
	best  netip.Prefix

	besides []netip.Prefix // blocks that are left as they are
}

func (h *halving) search() (found bool) {
	for base, n := range h.space.blocks {
		block, from := netip.PrefixFrom(base, h.space.bits), n<<h.space.host()
		if !slices.Contains(h.besides, block) {
			h.visit(block, from, from+1<<h.space.host())
		}
	}
	return h.best.IsValid()
}

// visit counts the usable addresses of a part, whose slots are from and on until to, and reports whether all of it may
// be given. Whatever may, and is not too much, is a candidate.
func (h *halving) visit(part netip.Prefix, from, to int32) (usable int, whole bool) {
	if part.IsSingleIP() {
		usable, whole = h.one(&h.space.slots[from])
	} else {
		lower, upper := halves(part)
		middle := from + (to-from)/2
		n, all := h.visit(lower, from, middle)
		m, both := h.visit(upper, middle, to)
		usable, whole = n+m, all && both
	}
	if whole && 0 < usable && usable <= h.most && to-from <= LargestHalf && h.better(part) {
		h.best = part
	}
	return usable, whole
}

func (h *halving) one(t *slot) (usable int, whole bool) {
	if t.state != free && (t.state != released || !h.warm && h.space.busy(t, h.now)) {
		return 0, false
	}
	if t.excluded {
		return 0, true
	}
	return 1, true
}

// better prefers the larger part, then the lower one.
func (h *halving) better(part netip.Prefix) bool {
	return !h.best.IsValid() || part.Bits() < h.best.Bits() || part.Bits() == h.best.Bits() && part.Addr().Less(h.best.Addr())
}
