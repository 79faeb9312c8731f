package model

// Steps are those of either node, the tick, the snapshot and its restoring.
func (m Restore) Steps(s restoreState, do func(Step, restoreState)) {
	for n := range s.nodes {
		x := restoreTurn{m, n, s, do}
		if s.now < m.Revisions {
			x.session()
			x.accept()
			x.claim()
			x.remove()
		}
		x.prove()
		x.containers()
	}
	if s.snapshot.id == 0 && !s.restored {
		taken := s
		taken.snapshot = s.etcd
		do(Step{"a snapshot is taken", -1}, taken)
	}
	if s.snapshot.id != 0 {
		m.restore(s, do)
	}
	do(Step{"time passes", -1}, m.tick(s))
}

const etcdIsRestored = "etcd is restored"

func (m Restore) restore(s restoreState, do func(Step, restoreState)) {
	if m.How == Awaited && s.nodes[0].right+s.nodes[1].right > 0 {
		return
	}
	s.etcd, s.snapshot, s.restored = s.snapshot, etcd{}, true
	switch m.How {
	case NewID:
		s.id++
	case Voided:
		s.recorded, s.cluster = 0, s.put()
	case Awaited:
		for n := range s.nodes {
			if m.Breach != GoesOnLate {
				s.nodes[n].joined, s.nodes[n].settled = 0, 0
			}
		}
	}
	do(Step{etcdIsRestored, -1}, s)
}

func (m Restore) tick(s restoreState) restoreState {
	for n := range s.nodes {
		x := &s.nodes[n]
		if x.right > 0 && m.How == Awaited && m.Breach != GoesOnLate {
			x.joined, x.settled = 0, 0 // it joins and settles before it lets anything pass again
		}
		x.right, x.wait, x.absent.wait = 0, min(x.wait, 1), 0
	}
	return s
}

// A restoreTurn is one node's turn in a state.
type restoreTurn struct {
	m  Restore
	n  int
	s  restoreState
	do func(Step, restoreState)
}

// then makes a step of a change to the state and to the node.
func (x restoreTurn) then(name string, change func(s *restoreState, me *restoreNode)) {
	change(&x.s, &x.s.nodes[x.n]) // x is a copy
	x.do(Step{name, int8(x.n)}, x.s)
}

func (x restoreTurn) me() *restoreNode { return &x.s.nodes[x.n] }
func (x restoreTurn) self() int8       { return int8(x.n + 1) }

// session is Join, Settle and the session's end. Whoever meets an etcd whose recorded id is another, or whose revisions
// have gone back, voids the recorded id, so that nothing that was sent to the former etcd is carried out any more: a
// restored etcd may give the same revisions again, and so the same generations. It waits from then on.
func (x restoreTurn) session() {
	me := x.me()
	if !x.s.meets(x.n) || me.settled != me.joined {
		x.then("session.Join", func(s *restoreState, me *restoreNode) {
			back := s.id == me.id && s.now < me.seen
			if back || s.recorded != s.id && s.recorded != 0 && x.m.Breach != NoVoid {
				s.recorded, s.cluster = 0, s.put()
			}
			me.sent.former = me.sent.generation != 0
			me.absent = absence{} // seen in another etcd, it says nothing of this one
			if s.recorded == s.id {
				me.wait = 0
			} else if me.wait == 0 || me.id != s.id || me.cluster != s.cluster {
				me.wait = 2
			}
			s.generation[x.n], s.session[x.n] = s.put(), true
			me.id, me.cluster, me.joined, me.settled = s.id, s.cluster, s.generation[x.n], 0
			me.recovery, me.seen = s.recorded != s.id, 0
			x.m.sees(me, s.now)
		})
	}
	if me.settled != me.joined && x.s.meets(x.n) {
		x.then("the agent has settled, with block.Assert", x.settle)
	}
	if x.s.session[x.n] && x.n == 1 { // one node's is enough
		x.then("the session ends", func(s *restoreState, _ *restoreNode) { s.session[x.n] = false })
	}
}

// settle compares what the node has with what etcd says. Only another's record isolates; what is missing is asserted.
func (x restoreTurn) settle(s *restoreState, me *restoreNode) {
	over := x.m.Breach == AssertOver && me.has && s.owner != x.self()
	if s.owner == 0 && me.has && x.m.Breach != NoAssert || over {
		s.owner = x.self()
		s.put()
	}
	me.own = s.owner == x.self() && (me.has || !me.recovery || x.m.Breach == UseInRecovery)
	me.has = me.has && (s.owner == x.self() || s.owner == 0 || x.m.Breach == NoIsolation)
	me.settled = me.joined
	x.m.sees(me, s.now)
}

// accept is AcceptCluster, after the longest right from when the node met this etcd.
func (x restoreTurn) accept() {
	me := x.me()
	waited := me.wait == 1 || x.m.Breach == AcceptAtOnce && me.wait > 0
	if me.recovery && waited && me.cluster == x.s.cluster && x.s.recorded != me.id {
		x.then("session.AcceptCluster", func(s *restoreState, me *restoreNode) {
			s.recorded, s.cluster = me.id, s.put()
			x.m.sees(me, s.now)
		})
	}
}

// prove is Arm, Prove and Open, in one. A node that finds another etcd, or another cluster's key, joins anew. One whose
// right has run out may have lost what it has to another, of which the restored etcd knows nothing: it waits, too.
func (x restoreTurn) prove() {
	me := x.me()
	if me.settled == 0 || me.settled != me.joined {
		return
	}
	if me.recovery && me.right == 0 && me.wait != 1 && x.m.Breach != OpenInRecovery {
		return
	}
	own := x.s.generation[x.n] == me.joined && x.s.session[x.n]
	if own && (x.s.meets(x.n) || x.m.Breach == ProofOfAnyCluster) {
		x.then("session.Proven", func(s *restoreState, me *restoreNode) { me.right = 1; x.m.sees(me, s.now) })
	}
}

// containers is ADD and DEL.
func (x restoreTurn) containers() {
	me := x.me()
	if me.own && !me.has && me.settled == me.joined {
		x.then("ADD", func(_ *restoreState, me *restoreNode) { me.has = true })
	}
	if me.has {
		x.then("DEL", func(_ *restoreState, me *restoreNode) { me.has = false })
	}
}

// claim is Claim and Release. A Claim may be sent to one etcd and carried out by the next.
func (x restoreTurn) claim() {
	me, s := x.me(), x.s
	settled := me.settled > 0 && me.settled == me.joined
	ready := settled && (!me.recovery || x.m.Breach == ClaimInRecovery)
	switch t := me.sent; {
	case t.answer != 0:
		x.then("the answer arrives", func(_ *restoreState, me *restoreNode) {
			same := t.generation == me.settled && !t.former || x.m.Breach == LateAnswerCounts
			ours := same && (t.answer == me.id || x.m.Breach == AnswerOfAnyCluster)
			me.own = me.own || ours
			if same && t.answer == me.id {
				x.m.sees(me, t.revision)
			}
			me.sent = claimTxn{}
		})
	case t.generation != 0:
		x.then("a transaction is lost", func(_ *restoreState, me *restoreNode) { me.sent = claimTxn{} })
		if x.free(t) && x.fenced(t) {
			name := "block.Claim is carried out"
			if t.other != 0 {
				name = "block.TakeOver is carried out"
			}
			x.then(name, func(s *restoreState, me *restoreNode) {
				s.owner = x.self()
				me.sent.answer, me.sent.revision = s.id, s.put()
			})
		}
	case ready && !me.own:
		x.then("block.Claim", func(_ *restoreState, me *restoreNode) {
			me.sent = claimTxn{generation: me.settled, cluster: me.cluster}
		})
		if me.absent.generation > 0 && me.absent.wait == 0 {
			x.then("block.TakeOver", func(_ *restoreState, me *restoreNode) {
				me.sent = claimTxn{generation: me.settled, cluster: me.cluster, other: me.absent.generation}
			})
		}
	}
	if x.n == holder && ready && !s.session[taker] && me.absent.generation != s.generation[taker] {
		x.then("sees the session absent", func(_ *restoreState, me *restoreNode) { me.absent = absence{s.generation[taker], 1} })
	}
	t := claimTxn{generation: me.settled, cluster: me.cluster}
	if settled && me.own && !me.has && s.owner == x.self() && x.fenced(t) {
		x.then("block.Release", func(s *restoreState, me *restoreNode) {
			s.owner, me.own = 0, false
			x.m.sees(me, s.put())
		})
	}
}

// remove is an operator's node remove: a tombstone, and what B has is nobody's. What he has waited for does not matter here: nobody
// claims it before every right has run out, and B asserts it when it comes back.
func (x restoreTurn) remove() {
	if s := x.s; x.m.Removals && x.n == taker && s.recorded == 0 && !s.session[taker] && s.owner == taker+1 {
		x.s.generation[taker] = x.s.put()
		x.s.owner = 0
		x.s.put()
		x.do(Step{removed, holder}, x.s)
	}
}

// free reports whether nobody owns the address, or for a Take, who was seen absent.
func (x restoreTurn) free(t claimTxn) bool {
	if t.other == 0 {
		return x.s.owner == 0
	}
	return x.s.owner == taker+1 && !x.s.session[taker] && t.other == x.s.generation[taker]
}

// fenced reports whether what every giving transaction compares is as the sender knows it.
func (x restoreTurn) fenced(t claimTxn) bool {
	return t.generation == x.s.generation[x.n] && x.s.session[x.n] && (t.cluster == x.s.cluster || x.m.Breach == NoClusterCompare)
}
