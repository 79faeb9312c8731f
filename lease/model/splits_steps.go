package model

// Steps are those of either node. A is the one whose agent is killed or joins anew, and whose messages are lost or late.
func (m Splits) Steps(s splitsState, do func(Step, splitsState)) {
	for n := range s.nodes {
		x := splitsTurn{m, n, s, do}
		if n == 0 {
			x.restart()
			x.session()
		}
		x.containers()
		x.change()
		x.commits()
		x.answers()
	}
}

// A splitsTurn is one node's turn in a state.
type splitsTurn struct {
	m  Splits
	n  int
	s  splitsState
	do func(Step, splitsState)
}

// then makes a step of a change to the state and to the node.
func (x splitsTurn) then(name string, change func(s *splitsState, me *splitsNode)) {
	change(&x.s, &x.s.nodes[x.n]) // x is a copy
	x.s.forget()
	if other := x.s.swapped(); other.less(&x.s) {
		x.s = other // the two addresses are alike
	}
	x.do(Step{name, int8(x.n)}, x.s)
}

// restart loses what the agent knew. What it has sent is still on its way; its watch begins with what is there now.
func (x splitsTurn) restart() {
	if late := x.s.nodes[x.n]; late.sent.phase == sent && late.late.phase != none {
		return // one late transaction a node has to do
	}
	x.then("the agent restarts", func(s *splitsState, me *splitsNode) {
		late := me.late
		if me.sent.phase == sent {
			late = me.sent
		}
		*me = splitsNode{attached: me.attached, late: late, known: -1, watched: s.now}
		if x.m.Breach == AllocateUnsettled {
			me.settled = s.generation[x.n]
			x.bring(s, me, s.now)
		}
	})
}

// session is Join and Settle. An answer to Join that is lost is a Join that is followed by another.
func (x splitsTurn) session() {
	me := x.s.nodes[x.n]
	if x.s.generation[x.n] < x.m.Joins {
		x.then("session.Join", func(s *splitsState, me *splitsNode) {
			s.generation[x.n]++
			me.joined = s.generation[x.n]
			if x.m.Breach != SettleBeforeJoin {
				me.view = 0
			}
		})
	}
	unsettled := me.joined != me.settled
	if me.view == 0 && (unsettled || x.m.Breach == SettleBeforeJoin) {
		x.then("the agent settles: it reads", func(s *splitsState, me *splitsNode) { me.view = s.now + 1 })
	}
	if me.view != 0 && unsettled {
		x.then("the agent has settled", func(s *splitsState, me *splitsNode) {
			version := me.view - 1
			if x.m.Breach != SettleGoesBack {
				version = max(version, me.known)
			}
			me.settled, me.view = me.joined, 0
			x.bring(s, me, version)
		})
	}
}

// bring makes the allocator what a version says.
func (x splitsTurn) bring(s *splitsState, me *splitsNode, version int8) {
	own := s.versions[version].of(x.n)
	me.known = version
	me.attached &= own // isolated
	me.free, me.inTransit = own&^me.attached, 0
}

// learn applies a version that an answer or the watch has brought.
func (x splitsTurn) learn(s *splitsState, me *splitsNode, version int8) {
	newer := version > me.known || version == me.known && x.m.Breach == AgainAtSame
	if newer && me.settled > 0 {
		x.bring(s, me, version)
	}
	me.known = max(me.known, version)
}

// containers is ADD and DEL.
func (x splitsTurn) containers() {
	me := x.s.nodes[x.n]
	for bit := uint8(1); bit < 1<<units; bit <<= 1 {
		if me.free&bit != 0 && me.settled > 0 {
			x.then("ADD", func(_ *splitsState, me *splitsNode) { me.free, me.attached = me.free&^bit, me.attached|bit })
		}
		if me.attached&bit != 0 && me.settled > 0 {
			x.then("DEL", func(_ *splitsState, me *splitsNode) { me.free, me.attached = me.free|bit, me.attached&^bit })
		}
	}
}

// change sends what makes the block another.
func (x splitsTurn) change() {
	me := x.s.nodes[x.n]
	if me.sent.phase != none || me.settled == 0 || me.known < 0 || x.s.now >= x.m.Changes {
		return
	}
	is, self := x.s.versions[me.known], int8(x.n+1)
	for mask := uint8(1); mask < 1<<units; mask++ {
		if me.free&mask != mask {
			continue
		}
		x.send("block.Release", is.with(mask, 0), mask)
		if mask&(mask-1) == 0 {
			x.send("block.Transfer", is.with(mask, int8(2-x.n)), mask)
		}
	}
	if uncovered := is.of(-1); uncovered != 0 {
		x.send("block.Claim", is.with(uncovered, self), 0)
	}
	if me.inTransit != 0 {
		x.send("block.Resolve", is, 0)
	}
}

// send takes what is to be another's out of the allocator before the transaction leaves.
func (x splitsTurn) send(name string, want owners, out uint8) {
	x.then(name, func(s *splitsState, me *splitsNode) {
		if x.m.Breach != TransferKeeps {
			me.free, me.inTransit = me.free&^out, me.inTransit|out
		}
		me.sent = swap{phase: sent, generation: me.settled, rev: s.rev(me.known), want: want}
	})
}

// commits is what becomes of the transactions that were sent.
func (x splitsTurn) commits() {
	me := x.s.nodes[x.n]
	if me.sent.phase == sent {
		x.then("a transaction is carried out", func(s *splitsState, me *splitsNode) {
			x.commit(s, me.sent)
			me.sent = swap{phase: answered, answer: s.now}
		})
		if x.n == 0 {
			x.then("a transaction is lost", func(_ *splitsState, me *splitsNode) { me.sent = swap{} })
		}
		if x.n == 0 && me.late.phase == none {
			x.then("a transaction is not waited for any more", func(_ *splitsState, me *splitsNode) { me.late, me.sent = me.sent, swap{} })
			x.then("a transaction is repeated", func(_ *splitsState, me *splitsNode) { me.late = me.sent })
		}
	}
	if me.late.phase == sent {
		x.then("a late transaction is carried out", func(s *splitsState, me *splitsNode) {
			x.commit(s, me.late)
			me.late = swap{}
		})
		x.then("a late transaction is lost", func(_ *splitsState, me *splitsNode) { me.late = swap{} })
	}
}

func (x splitsTurn) commit(s *splitsState, t swap) {
	fenced := t.generation == s.generation[x.n] || x.m.Breach == NoGeneration
	if fenced && t.rev == s.rev(s.now) && s.now < x.m.Changes {
		s.now++
		s.versions[s.now] = t.want
	}
}

// answers is what the agent learns: by an answer, the watch, or a read.
func (x splitsTurn) answers() {
	me := x.s.nodes[x.n]
	if me.sent.phase == answered {
		x.then("the answer arrives", func(s *splitsState, me *splitsNode) {
			version := me.sent.answer
			x.learn(s, me, version)
			if me.sent = (swap{}); x.m.Breach == ReleaseForgets && s.versions[version].of(x.n) == 0 {
				me.known = -1
			}
		})
		if x.n == 0 {
			x.then("the answer is lost", func(_ *splitsState, me *splitsNode) { me.sent = swap{} })
		}
	}
	if me.watched < x.s.now {
		x.then("the watch notifies", func(s *splitsState, me *splitsNode) {
			me.watched++
			if x.m.Breach == WatchAddsNothing {
				me.free &= s.versions[me.watched].of(x.n)
				return
			}
			x.learn(s, me, me.watched)
		})
	}
	if x.m.Breach == ReadSettles && me.inTransit != 0 && me.sent.phase == none {
		x.then("a read says that it is still the node's", func(s *splitsState, me *splitsNode) { x.bring(s, me, s.now) })
	}
}
