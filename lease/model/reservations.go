package model

// Reservations is one member's reservation and the two nodes that its containers start on, one container ID on each.
// On A the same container lives again and again; its agent is killed, its session ends, its right runs out, its
// transactions are lost or late, and so are its runtime's DELs. On B all goes well, and at once. That the right has run out
// is one step here: how it does is in Rights.
type Reservations struct {
	Breach Breach
	Joins  int8    // how often A may join
	Lives  [2]int8 // how often each node's container may start
	Epochs int8    // how often the reservation may be attached
	Ends   bool    // the reservation may end once nobody holds it
}

type reservationsState struct {
	record attachedTo
	keys   nodeKeys // A's
	fenced bool     // A's right has run out: its kernel lets nothing pass
	waited int8     // the generation of A whose right B has seen run out
	nodes  [2]reservationsNode
}

// attachedTo is the reservation's record: the node that holds it plus one, or 0, and the epoch. Since each attachment
// raises the epoch, two records that are alike are one revision. When the reservation has ended, the address can be
// another identity's, which starts on B and counts its epochs from 1.
type attachedTo struct {
	node, epoch int8
	ended       bool
}

type reservationsNode struct {
	joined, settled int8
	view            attachedTo // what settling has read
	viewed          bool
	add             adding
	late            attaching // an attachment that nobody waits for any more
	detach          detaching

	// The journal and the kernel.
	entry   entry
	pending uint8 // the epochs of attachments that etcd is still to let go of
	cut     bool  // the container is isolated

	// The runtime.
	life int8  // of the container that it has started last
	live int8  // the life whose ADD was answered and that it has not ended; 0: none
	dels uint8 // lives whose DELs are on their way
}

// An entry is the journal's of the container; life 0: there is none.
type entry struct {
	life, epoch int8
	answered    bool
}

// An adding is an ADD under way. It holds the attachment's lock.
type adding struct {
	phase   addPhase
	reserve attaching
	epoch   int8 // that the answer has brought
}

type addPhase int8

const (
	noAdd addPhase = iota
	begun
	reserving // the transaction is on its way
	reserved  // it is carried out: the answer is on its way
	notified  // it has come
	held      // the journal has it, unanswered
)

// An attaching is a Reserve: attach, move or take.
type attaching struct {
	sent       bool
	generation int8       // of the sender
	expect     attachedTo // the record that it builds upon
	absent     int8       // the generation of the other node, whose session is to be absent; 0: it does not matter
}

// A detaching is a Detach or an EndHeld on its way.
type detaching struct {
	sent   bool
	expect attachedTo
	ends   bool // the reservation, too: nobody keeps it
}

// Begin has no container, and a reservation that nobody holds.
func (m Reservations) Begin() reservationsState {
	s := reservationsState{keys: nodeKeys{generation: 1, session: true}}
	for n := range s.nodes {
		s.nodes[n].joined, s.nodes[n].settled = 1, 1
	}
	return s
}

// Wrong is that two containers have the address, that a detachment came too late, that what was answered is lost, or
// that the reservation is held by nobody who will let go of it.
func (m Reservations) Wrong(s reservationsState) string {
	if s.passes(holder) && s.passes(taker) {
		return "two containers pass traffic for one address"
	}
	for n := range s.nodes {
		x := &s.nodes[n]
		if x.add.phase != noAdd {
			continue
		}
		if x.live != 0 && (x.entry.life != x.live || !x.entry.answered) {
			return "a container that was answered is lost"
		}
		if x.live != 0 && s.record == (attachedTo{epoch: x.entry.epoch}) {
			return "a late detachment has detached a later attachment"
		}
	}
	if h := s.record.node; h != 0 && s.quiet() && s.nodes[h-1].entry.epoch != s.record.epoch && !m.lets(&s, int(h-1)) {
		return "a reservation is leaked: its holder does not know of it"
	}
	return ""
}

// lets reports whether a node sees by the watch that it holds what it does not know, and is about to let go of it. An
// ADD under way has the lock, and may be about to know it.
func (m Reservations) lets(s *reservationsState, n int) bool {
	x := &s.nodes[n]
	unknown := s.record.node == int8(n+1) && x.settled > 0 && x.entry.life == 0 && x.pending&(1<<s.record.epoch) == 0
	return unknown && m.Breach != UnknownAtSettling && (x.add.phase == noAdd || m.Breach == UnknownInFlight)
}

func (s *reservationsState) passes(n int) bool {
	x := &s.nodes[n]
	return x.entry.answered && !x.cut && (n == taker || !s.fenced)
}

// quiet reports whether nothing is on its way, and the agents have settled.
func (s *reservationsState) quiet() bool {
	for _, x := range s.nodes {
		if x.add.phase != noAdd || x.late.sent || x.detach.sent || x.pending != 0 || x.dels != 0 || x.viewed {
			return false
		}
	}
	a := &s.nodes[holder]
	return s.keys.session && a.settled == s.keys.generation
}
