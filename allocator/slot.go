package allocator

import (
	"net/netip"
	"time"
)

// What a slot is. Of each kind there is one list, in which exactly the slots of the kind are.
const (
	absent = iota // not the node's own
	free
	released
	quarantined
	held
	excluded // free or released, and not to be chosen
	unasked  // free, and not probed on the wire yet
	kinds
)

const (
	none    = int32(-1) // no slot
	nowhere = int32(-1) // no chunk, or no slot that is owned
)

// A slot is what a Space knows of one address.
type slot struct {
	links    [2]link
	since    time.Duration // Instant from which it is free; released, quarantined
	app      int32         // whose it was last
	state    uint8
	before   uint8 // the state that it was allocated from; held
	excluded bool
	probe    bool
	unasked  bool // never in use here and not probed on the wire, in a Space that probes
}

func (t *slot) kind() uint8 {
	if t.excluded && (t.state == free || t.state == released) {
		return excluded
	}
	if t.unasked && t.state == free {
		return unasked
	}
	return t.state
}

// enter adds slot i to its lists. Released and quarantined slots are ordered by time; a slot that comes in order of time is added
// in constant time.
func (s *Space) enter(i int32) {
	t := &s.slots[i]
	k := t.kind()
	l := &s.lists[k]
	switch k {
	case released:
		s.insert(l, byKind, i, s.before(l, byKind, t.since))
		if t.app != nobody {
			l := &s.apps.entries[t.app].released
			s.insert(l, byApp, i, s.before(l, byApp, t.since))
		}
	case quarantined:
		s.insert(l, byKind, i, s.before(l, byKind, t.since))
	default:
		s.insert(l, byKind, i, l.tail)
	}
}

// leave removes slot i from its lists, before its state changes.
func (s *Space) leave(i int32) {
	t := &s.slots[i]
	k := t.kind()
	s.remove(&s.lists[k], byKind, i)
	if k == released && t.app != nobody {
		s.remove(&s.apps.entries[t.app].released, byApp, i)
	}
}

// before is the last slot of l that is free since no later than since, or none.
func (s *Space) before(l *list, by int, since time.Duration) int32 {
	if l.head == none || since < s.slots[l.head].since {
		return none
	}
	i := l.tail
	for s.slots[i].since > since {
		i = s.slots[i].links[by].prev
	}
	return i
}

// host is the number of bits that tell the addresses of a block apart.
func (s *Space) host() int { return addressBits(s.family) - s.bits }

// find is the slot of a, or nowhere if a is not the node's own.
func (s *Space) find(a netip.Addr) int32 {
	n := s.chunkOf(a)
	if n == nowhere {
		return nowhere
	}
	i := n<<s.host() + s.offset(a)
	if s.slots[i].state == absent {
		return nowhere
	}
	return i
}

// chunkOf is the chunk of a's block, or nowhere if the node owns nothing of it.
func (s *Space) chunkOf(a netip.Addr) int32 {
	if n, found := s.blocks[s.BlockOf(a).Addr()]; found {
		return n
	}
	return nowhere
}

// newChunk makes room for the block of a.
func (s *Space) newChunk(a netip.Addr) int32 {
	base := netip.PrefixFrom(a, s.bits).Masked().Addr()
	var n int32
	if last := len(s.spare) - 1; last >= 0 {
		n, s.spare = s.spare[last], s.spare[:last]
	} else {
		n = int32(len(s.chunks))
		s.chunks = append(s.chunks, chunk{})
		s.slots = append(s.slots, make([]slot, 1<<s.host())...)
	}
	s.chunks[n].base = base
	s.blocks[base] = n
	return n
}

// bounds are the first slot of part in chunk n, and the one after its last.
func (s *Space) bounds(part netip.Prefix, n int32) (from, to int32) {
	from = n<<s.host() + s.offset(part.Masked().Addr())
	return from, from + 1<<(addressBits(s.family)-part.Bits())
}

func (s *Space) offset(a netip.Addr) int32 { return int32(numberOf(a).lo & (1<<s.host() - 1)) }

func (s *Space) address(i int32) netip.Addr {
	n := numberOf(s.chunks[i>>s.host()].base)
	n.lo |= uint64(i) & (1<<s.host() - 1)
	return n.addr(s.family)
}
