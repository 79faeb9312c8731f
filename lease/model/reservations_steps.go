package model

// Steps are those of either node, of its runtime, and of A's session.
func (m Reservations) Steps(s reservationsState, do func(Step, reservationsState)) {
	for n := range s.nodes {
		x := reservationsTurn{m, n, s, do}
		if n == holder {
			x.faults()
			x.session()
		}
		x.runtime()
		x.insert()
		x.commits()
		x.detach()
		x.watch()
	}
	if s.record.node == 0 && s.record.epoch > 0 && !s.record.ended && m.Ends {
		s.record = attachedTo{ended: true}
		do(Step{"reservation.End", -1}, s)
	}
}

// A reservationsTurn is one node's turn in a state.
type reservationsTurn struct {
	m  Reservations
	n  int
	s  reservationsState
	do func(Step, reservationsState)
}

// then makes a step of a change to the state and to the node.
func (x reservationsTurn) then(name string, change func(s *reservationsState, me *reservationsNode)) {
	change(&x.s, &x.s.nodes[x.n]) // x is a copy
	x.s.forget(x.m.Breach)
	x.do(Step{name, int8(x.n)}, x.s)
}

// forget makes states equal that differ only in what cannot be carried out any more: no record comes back once it has
// changed, and no session.
func (s *reservationsState) forget(breach Breach) {
	if breach == NoBlockCompare || breach == NoEpoch || breach == SameEpochAgain {
		return
	}
	for n := range s.nodes {
		x := &s.nodes[n]
		if t := x.late; t.expect != s.record || t.generation != s.keys.generation || !s.keys.session {
			x.late = attaching{}
		}
		if x.detach.expect != s.record {
			x.detach = detaching{}
		}
		if s.record.node != int8(n+1) {
			x.pending = 0
		} else {
			x.pending &= 1 << s.record.epoch
		}
	}
}

func (x reservationsTurn) me() *reservationsNode { return &x.s.nodes[x.n] }

// self is the node's number in records.
func (x reservationsTurn) self() int8 { return int8(x.n + 1) }

// faults is what befalls A. B sees when A's right has run out; A's return is the veto.
func (x reservationsTurn) faults() {
	x.then("the agent restarts", func(_ *reservationsState, me *reservationsNode) {
		if me.add.phase == reserving {
			me.late = me.add.reserve
		}
		me.joined, me.settled, me.viewed, me.view, me.add = 0, 0, false, attachedTo{}, adding{}
		if me.entry.life != 0 && !me.entry.answered {
			me.release()
		}
	})
	if x.s.keys.session {
		x.then("the session ends", func(s *reservationsState, _ *reservationsNode) { s.keys.session = false })
	} else {
		x.then("the right has run out", func(s *reservationsState, _ *reservationsNode) {
			s.fenced, s.waited = true, s.keys.generation
		})
	}
}

// session is Join, Settle, and a proof that opens the kernel.
func (x reservationsTurn) session() {
	me, generation := x.me(), x.s.keys.generation
	if generation < x.m.Joins {
		x.then("session.Join", func(s *reservationsState, me *reservationsNode) {
			s.keys = nodeKeys{generation: generation + 1, session: true}
			me.joined, me.viewed, me.view = generation+1, false, attachedTo{}
		})
	}
	if me.joined > 0 && me.settled != me.joined && !me.viewed {
		x.then("the agent settles: it reads", func(s *reservationsState, me *reservationsNode) { me.viewed, me.view = true, s.record })
	}
	if me.viewed {
		x.then("the agent has settled", func(_ *reservationsState, me *reservationsNode) {
			x.compareHolder(me, me.view)
			switch own := me.view.node == x.self(); {
			case own && me.entry.life != 0 && me.view.epoch >= me.entry.epoch:
				me.entry.epoch = me.view.epoch // adopted
			case own:
				me.pending |= 1 << me.view.epoch
			}
			me.settled, me.viewed, me.view = me.joined, false, attachedTo{}
		})
	}
	if x.s.fenced && me.settled == generation && x.s.keys.session {
		x.then("session.Arm, session.Proven, and the kernel opens", func(s *reservationsState, _ *reservationsNode) { s.fenced = false })
	}
}

// runtime starts and ends containers. A DEL may be repeated, and late: its first one lets the next life begin.
func (x reservationsTurn) runtime() {
	me := x.me()
	starts := x.n == taker || !x.s.record.ended // else the member has another address
	if starts && me.live == 0 && me.add.phase == noAdd && me.entry.life == 0 && me.life < x.m.Lives[x.n] && me.settled > 0 {
		x.then("ADD", func(_ *reservationsState, me *reservationsNode) { me.life, me.add.phase = me.life+1, begun })
	}
	if me.live != 0 && x.n == taker {
		x.then("DEL, and reservation.Detach", func(s *reservationsState, me *reservationsNode) {
			if s.record.node == x.self() && s.record.epoch == me.entry.epoch {
				s.record.node = 0
			}
			me.entry, me.live, me.cut = entry{}, 0, false
		})
	} else if me.live != 0 {
		x.then("the runtime ends the container", func(_ *reservationsState, me *reservationsNode) {
			me.dels, me.live = me.dels|1<<me.live, 0
		})
	}
	for life := int8(1); life <= me.life; life++ {
		if me.dels&(1<<life) != 0 && me.add.phase == noAdd {
			x.then("DEL", func(_ *reservationsState, me *reservationsNode) {
				me.dels &^= 1 << life
				x.del(me, life)
			})
			x.then("DEL, which comes once more", func(_ *reservationsState, me *reservationsNode) { x.del(me, life) })
		}
	}
}

// del ends the container, unless the DEL is of a former life.
func (x reservationsTurn) del(me *reservationsNode, life int8) {
	if me.entry.life != 0 && (life >= me.entry.life || x.m.Breach == DelOfAnyLife) {
		me.release()
	}
}

// release takes the entry out of the journal, which remembers to let go of the reservation.
func (n *reservationsNode) release() {
	n.pending |= 1 << n.entry.epoch
	n.entry, n.cut = entry{}, false
}

// insert is an ADD from its choice to its answer.
func (x reservationsTurn) insert() {
	me := x.me()
	switch me.add.phase {
	case begun:
		if x.n == holder && x.s.record.ended {
			x.then("ADD goes on with another address", func(_ *reservationsState, me *reservationsNode) { me.add = adding{} })
			return
		}
		x.reserve()
	case reserving:
		if x.n == holder && !me.late.sent {
			x.then("ADD fails: no answer", func(_ *reservationsState, me *reservationsNode) {
				me.late, me.add = me.add.reserve, adding{}
			})
			x.then("reservation.Reserve is repeated", func(_ *reservationsState, me *reservationsNode) { me.late = me.add.reserve })
		}
	case reserved:
		x.then("the answer arrives", func(_ *reservationsState, me *reservationsNode) { me.add.phase = notified })
		if x.n == holder {
			x.then("ADD fails: the answer is lost", func(_ *reservationsState, me *reservationsNode) { me.add = adding{} })
		}
	case notified:
		if x.m.Breach == JournalAfterAnswer {
			x.then("answers", func(_ *reservationsState, me *reservationsNode) { me.add.phase, me.live = held, me.life })
			return
		}
		x.then("writes the journal", func(_ *reservationsState, me *reservationsNode) {
			me.add.phase, me.entry = held, entry{life: me.life, epoch: me.add.epoch}
		})
	case held:
		x.then("commits and answers", x.commitAdd)
	}
}

// commitAdd compares the session under the gate; if it has changed, the ADD starts again.
func (x reservationsTurn) commitAdd(_ *reservationsState, me *reservationsNode) {
	add := me.add
	me.add = adding{}
	if add.reserve.generation != me.settled && x.m.Breach != CommitUnderAny {
		me.release()
		me.add.phase = begun
		return
	}
	me.entry, me.live = entry{life: me.life, epoch: add.epoch, answered: true}, me.life
}

// reserve decides by what etcd has: a reservation that another node holds is taken when its right has run out.
func (x reservationsTurn) reserve() {
	r, me := x.s.record, x.me()
	if r.epoch >= x.m.Epochs {
		return
	}
	t := attaching{sent: true, generation: me.settled, expect: r}
	if r.node != 0 && r.node != x.self() {
		if x.n == holder || x.s.keys.session || x.s.waited != x.s.keys.generation {
			x.then("ADD fails: another holds it", func(_ *reservationsState, me *reservationsNode) { me.add = adding{} })
			return
		}
		t.absent = x.s.waited
	}
	x.then("reservation.Reserve", func(_ *reservationsState, me *reservationsNode) { me.add.phase, me.add.reserve = reserving, t })
}
