package model

// Rights is two nodes that want one address by turns: a block's, or a reservation's. A is the one that things befall:
// its agent is killed, its session ends, its right runs out, its messages are lost or late. B takes from it when it
// can; B's session and right last, which is the worst for A. Time goes by in ticks at which every timer counts down. A's
// clock is as slow as the tenth covers: a faster one would only end its right sooner.
//
// In strict mode A's kernel lets traffic pass while one of its two slots has a timer and an open lock. In evidence mode
// it passes until the agent isolates; a node that is neither cut off nor without agent does what etcd tells it to
// before the next tick.
type Rights struct {
	Breach   Breach
	Evidence bool
	Joins    int8 // how often A may join
	Changes  int8 // how often the block may change
	Removals bool // an operator may remove A once its right has run out; B stands for him
}

const (
	holder = 0 // A
	taker  = 1 // B
)

const (
	right      = 2 // ticks
	shortRight = 1 // what the settings may be changed to
	tenth      = 1 // of either: a part of a tick counts as one
)

type rightsState struct {
	keys   [2]nodeKeys
	owner  int8 // of the block; 0: nobody, else the node's number plus one
	rev    int8 // the block's mod revision
	ticked bool // the last step was a tick (evidence mode)
	tomb   int8 // A's generation that is a tombstone; 0: there is none
	nodes  [2]rightsNode
}

// nodeKeys are a node's two keys in etcd. Join writes both in one transaction, so a session that is there is of the
// present generation.
type nodeKeys struct {
	generation int8
	session    bool
	short      bool // the right that the node fences by is the short one
}

// A rightsNode is an agent, which dies with its process, and a kernel, which stays. A dead agent is one that takes no
// step until it has lost what it knew.
type rightsNode struct {
	cut     bool // from etcd, or without agent (evidence mode)
	joined  int8 // the generation that the agent's last Join gave it
	settled int8 // the generation under which it has settled last: the code's agent.session
	short   bool // it arms for the short right
	view    view // what settling has read and not brought in yet
	own     bool // the allocator has the address
	proof   proof
	absent  absence
	sent    blockTxn

	port  bool // a container's port is in its class: the kernel's, and the journal's
	slots [2]slot
}

type view int8

const (
	unread view = iota
	theirs
	mine
)

// A slot lets traffic pass while its timer runs and its lock is open.
type slot struct {
	timer int8
	open  bool
}

func (s slot) passes() bool { return s.open && s.timer > 0 }

// A proof is on its way from Arm to Open.
type proof struct {
	phase proofPhase
	slot  int8
}

type proofPhase int8

const (
	idle  proofPhase = iota
	armed            // the slot is; the read is on its way
	seen             // the read has seen the node's own session
)

// An absence is what an agent remembers of the other's session: under which generation it was seen absent, and how
// long the wait lasts yet.
type absence struct{ generation, wait int8 }

// A blockTxn is a transaction that gives the node the block, or gives it up, under way to etcd or back.
type blockTxn struct {
	kind       givingKind
	generation int8 // of the sender
	rev        int8 // of the block
	other      int8 // the former owner's generation
	done       bool // carried out: the answer is on its way
}

type givingKind int8

const (
	nothing givingKind = iota
	claim
	takeOver
	release
	remove
)

// Begin has A's container running under A's right, and B joined and settled.
func (m Rights) Begin() rightsState {
	s := rightsState{owner: 1}
	for n := range s.nodes {
		s.keys[n] = nodeKeys{generation: 1, session: true}
		s.nodes[n] = rightsNode{joined: 1, settled: 1}
	}
	s.nodes[holder].own, s.nodes[holder].port = true, true
	return s
}

// passes reports whether a node lets the address's traffic pass. B's right lasts, so that its kernel does.
func (m Rights) passes(s *rightsState, n int) bool {
	x := &s.nodes[n]
	return x.port && (m.Evidence || n == taker || x.slots[0].passes() || x.slots[1].passes())
}

// Wrong is that two nodes pass traffic for one address: at any instant in strict mode; in evidence mode at a tick,
// while the one that does not own it has an agent that is not cut off.
func (m Rights) Wrong(s rightsState) string {
	if !m.passes(&s, holder) || !m.passes(&s, taker) {
		return ""
	}
	if !m.Evidence {
		return "two nodes pass traffic for one address"
	}
	for n := range s.nodes {
		if s.ticked && s.owner != int8(n+1) && !s.nodes[n].cut {
			return "two nodes pass traffic for one address, and the former one is not cut off"
		}
	}
	return ""
}

// wait is how long the right that a node's key tells of is waited for.
func (m Rights) wait(k nodeKeys) int8 {
	whole := int8(right)
	if k.short {
		whole = shortRight
	}
	switch {
	case m.Breach == NoWait || m.Evidence:
		return 0
	case m.Breach == NoTenth:
		return whole
	}
	return whole + tenth
}
