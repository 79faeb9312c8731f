package model

// Restore is two nodes, one address and an etcd that is restored from an older snapshot. Nodes meet it at different
// times, and what was sent to the former etcd may be carried out by the restored one. How a right is proven is in
// Rights: here a proof is one step, and a right lasts for a tick, at the end of which a wait for it ends, too.
type Restore struct {
	Breach    Breach
	How       How
	Owned     bool // in the beginning B has a container with the address; else nobody owns it
	Revisions int8 // how far etcd's revision may go
	Removals  bool // an operator may remove B in a recovery, while it has no session
}

// How an etcd is restored.
type How int8

const (
	NewID   How = iota // by a new cluster token, as Berth asks for: etcd's own cluster id is another
	Voided             // under the former id, and the operator has removed the cluster's key before a node meets it
	SameID             // under the former id: nodes that see revisions go back void the recorded id
	Awaited            // the same, after every right has run out; a node whose right has run out joins and settles anew
)

func (h How) String() string {
	return [...]string{"a new id", "the former id, voided", "the former id", "the former id, once the rights have run out"}[h]
}

// An etcd is what an etcd holds. The mod revisions in it are real ones, since a restored etcd gives them once more.
type etcd struct {
	id, now           int8 // its own cluster id, and its revision
	recorded, cluster int8 // the id that the cluster's key has, 0 when voided, and its mod revision
	generation        [2]int8
	session           [2]bool
	owner             int8 // of the address: 0 nobody, else the node's number plus one
}

// put is the revision of a next write.
func (e *etcd) put() int8 {
	e.now++
	return e.now
}

type restoreState struct {
	etcd
	snapshot etcd // none if its id is 0
	restored bool
	nodes    [2]restoreNode
}

type restoreNode struct {
	id, cluster     int8 // of the etcd that it has joined: its own id, and the mod revision of the cluster's key
	joined, settled int8
	recovery        bool // the recorded id was another when it joined
	seen            int8 // the newest revision that it has seen
	wait            int8 // how long it waits yet to accept the cluster, plus one; 0: it does not wait
	own             bool // the allocator has the address
	has             bool // a container has it: the journal and the kernel know it
	right           int8 // how long the kernel lets it pass yet
	sent            claimTxn
	absent          absence // of B's session, in A
}

// sees remembers the newest revision that the node has seen. It matters only where the id is the former one.
func (m Restore) sees(x *restoreNode, revision int8) {
	if m.How == SameID || m.How == Awaited {
		x.seen = max(x.seen, revision)
	}
}

// A claimTxn is a block.Claim, or A's block.TakeOver, on its way to etcd or back.
type claimTxn struct {
	generation, cluster int8 // that it compares; generation 0: there is none
	other               int8 // a Take's: the former owner's generation
	answer              int8 // the id of the etcd that has carried it out; 0: none yet
	revision            int8 // that the answer brings
	former              bool // the node has joined anew since it was sent: its generation's number proves nothing
}

// Begin has two nodes that have settled.
func (m Restore) Begin() restoreState {
	s := restoreState{etcd: etcd{id: 1, now: 3, recorded: 1, cluster: 1, generation: [2]int8{2, 3}, session: [2]bool{true, true}}}
	for n := range s.nodes {
		s.nodes[n] = restoreNode{id: 1, cluster: 1, joined: s.generation[n], settled: s.generation[n]}
	}
	if b := &s.nodes[taker]; m.Owned {
		s.owner, b.own, b.has = taker+1, true, true
	}
	return s
}

// Wrong is that two nodes pass traffic for the address, or that one does that has met this etcd and not asserted what it
// has no record of.
func (m Restore) Wrong(s restoreState) string {
	a, b := &s.nodes[0], &s.nodes[1]
	if a.has && a.right > 0 && b.has && b.right > 0 {
		return "two nodes pass traffic for one address"
	}
	for n := range s.nodes {
		x := &s.nodes[n]
		if m.How != SameID && x.has && x.right > 0 && x.settled == x.joined && s.meets(n) && s.owner == 0 {
			return "a node lets a container pass under an etcd that has no record of its address"
		}
	}
	return ""
}

// meets reports whether a node's session is the one that etcd has, in the same etcd.
func (s *restoreState) meets(n int) bool {
	x := &s.nodes[n]
	return x.joined == s.generation[n] && s.session[n] && x.id == s.id && x.cluster == s.cluster && x.seen <= s.now
}
