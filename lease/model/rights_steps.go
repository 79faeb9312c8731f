package model

// Steps are those of either node, and the tick.
func (m Rights) Steps(s rightsState, do func(Step, rightsState)) {
	s.ticked = false
	urgent := false
	for n := range s.nodes {
		x := rightsTurn{m, n, s, do}
		if n == holder {
			x.faults()
		}
		if s.nodes[n].cut {
			continue
		}
		x.commits()
		x.containers()
		x.sends()
		x.removes()
		x.watch()
		if n == holder {
			x.session()
			x.prove()
		}
		urgent = urgent || x.urgent()
	}
	if !m.Evidence || !urgent {
		do(Step{"time passes", -1}, m.tick(s))
	}
}

func (m Rights) tick(s rightsState) rightsState {
	s.ticked = m.Evidence
	for n := range s.nodes {
		x := &s.nodes[n]
		x.absent.wait = max(x.absent.wait-1, 0)
		for i := range x.slots {
			if x.slots[i].timer = max(x.slots[i].timer-1, 0); x.slots[i].timer == 0 {
				x.slots[i].open = false // only a new timer makes it pass again, and that closes it first
			}
		}
	}
	return s
}

// A rightsTurn is one node's turn in a state.
type rightsTurn struct {
	m  Rights
	n  int
	s  rightsState
	do func(Step, rightsState)
}

// then makes a step of a change to the state and to the node.
func (x rightsTurn) then(name string, change func(s *rightsState, me *rightsNode)) {
	change(&x.s, &x.s.nodes[x.n]) // x is a copy
	x.do(Step{name, int8(x.n)}, x.s)
}

func (x rightsTurn) me() *rightsNode  { return &x.s.nodes[x.n] }
func (x rightsTurn) keys() nodeKeys   { return x.s.keys[x.n] }
func (x rightsTurn) others() nodeKeys { return x.s.keys[1-x.n] }
func (x rightsTurn) owns() bool       { return x.s.owner == int8(x.n+1) }

// faults is what befalls A. Its session may end at any time: it may be revoked wrongly, and how long etcd's own leases
// last counts for nothing. A new agent finds the kernel's side as it was, and what is in flight stays so.
func (x rightsTurn) faults() {
	x.then("the agent restarts", func(_ *rightsState, me *rightsNode) {
		sent := me.sent
		if sent.done {
			sent = blockTxn{}
		}
		me.giveUp()
		*me = rightsNode{cut: me.cut, sent: sent, port: me.port, slots: me.slots}
	})
	if x.keys().session {
		x.then("the session ends", func(s *rightsState, _ *rightsNode) { s.keys[x.n].session = false })
	}
	if x.m.Evidence {
		x.then("the node is cut off, or no more", func(_ *rightsState, me *rightsNode) { me.cut = !me.cut })
	}
}

// commits is what becomes of a transaction that was sent.
func (x rightsTurn) commits() {
	if t := x.me().sent; t.kind != nothing && !t.done {
		x.then("a transaction is lost", func(_ *rightsState, me *rightsNode) { me.sent = blockTxn{} })
		x.then(commitNames[t.kind], x.commit)
	}
}

var commitNames = [...]string{
	claim: "block.Claim is carried out", takeOver: "block.TakeOver is carried out", release: "block.Release is carried out",
	remove: removed,
}

// commit carries a giving transaction out, or not if what it compares has changed.
func (x rightsTurn) commit(s *rightsState, me *rightsNode) {
	t := me.sent
	fenced := t.kind == remove || t.generation == x.keys().generation && x.keys().session || x.m.Breach == NoGeneration
	absent := t.kind != takeOver && t.kind != remove || (!x.others().session || x.m.Breach == NoAbsentCompare) &&
		(t.other == x.others().generation || x.m.Breach == NoNodeCompare)
	if !fenced || !absent || t.rev != s.rev && x.m.Breach != NoBlockCompare {
		me.sent = blockTxn{}
		return
	}
	s.rev++
	s.owner = int8(x.n + 1)
	me.sent.done = true
	if t.kind == release || t.kind == remove {
		s.owner, me.sent = 0, blockTxn{}
	}
}

// session is Join and Settle.
func (x rightsTurn) session() {
	me := x.me()
	if x.keys().generation < x.m.Joins {
		x.join("session.Join", false, true)
		x.join("session.Join, with an answer that is lost", false, false)
		if !x.m.Evidence {
			x.join("session.Join by a shorter right", true, true)
			x.join("session.Join by a shorter right, with an answer that is lost", true, false)
		}
	}
	reads := me.joined > 0 && me.settled != me.joined || x.m.Breach == SettleBeforeJoin
	if reads && me.view == unread {
		x.then("the agent settles: it reads", func(_ *rightsState, me *rightsNode) {
			me.view = theirs
			if x.owns() {
				me.view = mine
			}
		})
	}
	if me.view != unread && me.settled != me.joined {
		x.then("the agent has settled", func(_ *rightsState, me *rightsNode) {
			me.own = me.view == mine
			me.port = me.port && (me.own || x.m.Breach == NoIsolation)
			me.settled, me.view = me.joined, unread
		})
	}
}

// join rewrites the node's keys. A shorter right is kept before it is written, a longer one after the answer.
func (x rightsTurn) join(name string, short, answered bool) {
	x.then(name, func(s *rightsState, me *rightsNode) {
		if short {
			me.short = true
			for i := range me.slots {
				if x.m.Breach != KernelNotLimited {
					me.slots[i].timer = min(me.slots[i].timer, shortRight)
				}
			}
		}
		s.keys[x.n] = nodeKeys{s.keys[x.n].generation + 1, true, short}
		if answered {
			me.giveUp()
			me.joined, me.short = s.keys[x.n].generation, short
			if x.m.Breach != SettleBeforeJoin {
				me.view = unread
			}
		}
	})
}

// prove is Arm, Prove and Open.
func (x rightsTurn) prove() {
	me := x.me()
	if x.m.Evidence || me.joined == 0 {
		return
	}
	switch me.proof.phase {
	case idle:
		x.then("session.Arm", x.arm)
	case armed:
		x.then("session.Proven", func(_ *rightsState, me *rightsNode) {
			saw := x.keys().generation == me.joined && x.keys().session
			if saw || x.m.Breach == RenewalIsProof {
				me.proof.phase = seen
			} else {
				me.giveUp()
			}
		})
		x.then("session.Proven: the answer is lost", func(_ *rightsState, me *rightsNode) { me.giveUp() })
	case seen:
		if me.settled == me.joined || x.m.Breach == OpenUnsettled {
			x.then("the kernel opens", x.open)
		}
	}
}

// arm closes and arms the slot that is not used. An agent that has just started cannot tell which: the wrong one would
// only be closed sooner.
func (x rightsTurn) arm(_ *rightsState, me *rightsNode) {
	i := int8(0)
	if me.slots[0].passes() != (x.m.Breach == OneSlot) {
		i = 1
	}
	me.slots[i] = slot{timer: me.right() + tenth, open: me.slots[i].open && x.m.Breach == OneSlot}
	me.proof = proof{armed, i}
}

func (x rightsTurn) open(_ *rightsState, me *rightsNode) {
	this, other := &me.slots[me.proof.slot], &me.slots[1-me.proof.slot]
	if x.m.Breach == ArmAtAnswer {
		this.timer = me.right() + tenth
	}
	this.open = true
	if other.timer <= this.timer {
		*other = slot{} // it lets nothing more pass than this one
	}
	me.proof = proof{}
}

func (n *rightsNode) right() int8 {
	if n.short {
		return shortRight
	}
	return right
}

// giveUp forgets the proof that is under way.
func (n *rightsNode) giveUp() {
	if slot := &n.slots[n.proof.slot]; n.proof.phase != idle && !slot.open {
		slot.timer = 0 // it lets nothing pass: what it counts is all the same
	}
	n.proof = proof{}
}

// containers is ADD and DEL of a container.
func (x rightsTurn) containers() {
	me := x.me()
	if me.own && !me.port {
		x.then("ADD commits", func(_ *rightsState, me *rightsNode) { me.port = true })
	}
	if me.port {
		x.then("DEL", func(_ *rightsState, me *rightsNode) { me.port = false })
	}
}

// sends sends what gives the node the block, or gives it up.
func (x rightsTurn) sends() {
	me, s := x.me(), x.s
	if t := me.sent; t.done {
		x.then("the answer arrives", func(_ *rightsState, me *rightsNode) {
			me.own = me.own || t.generation == me.settled || x.m.Breach == LateAnswerCounts
			me.sent = blockTxn{}
		})
		x.then("the answer is lost", func(_ *rightsState, me *rightsNode) { me.sent = blockTxn{} })
	}
	if me.sent.kind != nothing || me.settled == 0 || s.rev >= x.m.Changes {
		return
	}
	t := blockTxn{generation: me.settled, rev: s.rev}
	switch s.owner {
	case 0:
		t.kind = claim
		x.then("block.Claim", func(_ *rightsState, me *rightsNode) { me.sent = t })
	case int8(x.n + 1):
		if me.own && !me.port {
			t.kind = release
			x.then("block.Release", func(_ *rightsState, me *rightsNode) { me.own, me.sent = false, t })
		}
	default:
		if me.absent.generation > 0 && me.absent.wait == 0 {
			t.kind, t.other = takeOver, me.absent.generation
			x.then("block.TakeOver", func(_ *rightsState, me *rightsNode) { me.sent = t })
		}
	}
}

// watch is what an agent sees of the other's session, and of the block.
func (x rightsTurn) watch() {
	me, other := x.me(), x.others()
	if me.absent.generation != other.generation && !other.session {
		x.then("sees the session absent", func(_ *rightsState, me *rightsNode) {
			if x.m.Breach != WaitGoesOn || me.absent.generation == 0 {
				me.absent.wait = x.m.wait(other)
			}
			if x.s.tomb == other.generation {
				me.absent.wait = 0 // the name is nobody's
			}
			me.absent.generation = other.generation
		})
	}
	if x.m.Breach == TwoWatches && me.absent.generation > 0 && me.absent.generation != other.generation {
		x.then("sees the node's key, and not the session's yet", func(_ *rightsState, me *rightsNode) {
			me.absent = absence{other.generation, x.m.wait(other)}
		})
	}
	if !x.owns() && (me.own || me.port) && me.settled > 0 && x.m.Breach != NoIsolation {
		x.then("sees the block with another, and isolates", func(_ *rightsState, me *rightsNode) { me.own, me.port = false, false })
	}
}

// urgent reports whether the agent has something to do that a node which is not cut off does at once.
func (x rightsTurn) urgent() bool {
	me := x.me()
	replaced := me.joined != x.keys().generation || !x.keys().session
	return replaced || me.settled != me.joined || !x.owns() && (me.own || me.port) && x.m.Breach != NoIsolation
}
