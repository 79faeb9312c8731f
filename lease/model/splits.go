package model

// Splits is two nodes that share one block of two addresses: they claim what nobody owns, transfer parts to each other, and
// release them. Every one of these is a compare-and-swap of the block's key. A's agent is killed and joins anew, and
// its transactions are lost, late, repeated, or without an answer. What the watch says may come late to both.
//
// An agent has one rule for all that it learns of the block, be it an answer, an Else or the watch: only a version that
// is newer than the one it knows says what it owns. Such a version resolves what is unknown, too: whatever it has sent compares
// an older one.
type Splits struct {
	Breach  Breach
	Joins   int8 // how often A may join
	Changes int8 // how often the block may change, at most maxChanges
}

const (
	units      = 2
	maxChanges = 7
)

// owners says whose each address is: 0 nobody's, else the node's number plus one.
type owners [units]int8

func (o owners) of(n int) (mask uint8) {
	for u, owner := range o {
		if owner == int8(n+1) {
			mask |= 1 << u
		}
	}
	return mask
}

// with is what o becomes when an owner gets the addresses in a mask.
func (o owners) with(mask uint8, owner int8) owners {
	for u := range o {
		if mask&(1<<u) != 0 {
			o[u] = owner
		}
	}
	return o
}

type splitsState struct {
	generation [2]int8
	now        int8                   // the block's newest version
	versions   [maxChanges + 1]owners // each is what a change has made of it; the first is the beginning
	nodes      [2]splitsNode
}

// rev is the mod revision of the block's key in a version. A block that nobody owns has no key, and so 0.
func (s *splitsState) rev(version int8) int8 {
	if s.versions[version] == (owners{}) {
		return 0
	}
	return version + 1
}

// A splitsNode is an agent. Its masks have a bit for each address.
type splitsNode struct {
	joined, settled int8
	view            int8 // the version that settling has read, plus one; 0: none
	free            uint8
	inTransit       uint8 // taken out of the allocator, in a transaction whose answer has not come
	attached        uint8 // containers': these survive the agent
	known           int8  // the newest version that it knows; -1: none
	watched         int8  // the one that the watch has notified of last
	sent, late      swap  // one that is waited for, and one that is not any more
}

// A swap is a transaction that makes the block what the sender wants, if it is as the sender knows it.
type swap struct {
	phase      swapPhase
	generation int8
	rev        int8
	want       owners
	answer     int8 // the version that the answer brings, after a success or by the Else
}

type swapPhase int8

const (
	none swapPhase = iota
	sent
	answered
)

// Begin has the block with A. B is there, and knows it.
func (m Splits) Begin() splitsState {
	s := splitsState{generation: [2]int8{1, 1}}
	s.versions[0] = owners{1, 1}
	s.nodes[0] = splitsNode{joined: 1, settled: 1, free: 1<<units - 1}
	s.nodes[1] = splitsNode{joined: 1, settled: 1}
	return s
}

// Wrong is that an address is in two allocators or attachments, that a container's address is not its node's any more,
// or that an address is lost for ever.
func (m Splits) Wrong(s splitsState) string {
	a, b := &s.nodes[0], &s.nodes[1]
	if (a.free|a.attached)&(b.free|b.attached) != 0 {
		return "two nodes have one address"
	}
	for n := range s.nodes {
		x := &s.nodes[n]
		if x.free&x.attached != 0 {
			return "one node has an address twice"
		}
		if x.attached&^s.versions[s.now].of(n) != 0 {
			return "a container's address is not its node's"
		}
	}
	for n := range s.nodes {
		if s.quiet() && s.versions[s.now].of(n)&^(s.nodes[n].free|s.nodes[n].attached|s.nodes[n].inTransit) != 0 {
			return "an address is lost: its owner does not know"
		}
	}
	return ""
}

// quiet reports whether nothing is on its way, and every agent has settled and seen all.
func (s *splitsState) quiet() bool {
	for n, x := range s.nodes {
		if x.settled != s.generation[n] || x.view != 0 || x.sent.phase != none || x.late.phase != none || x.watched < s.now {
			return false
		}
	}
	return true
}
