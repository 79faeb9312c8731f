package model

// commits is what becomes of the transactions that were sent.
func (x reservationsTurn) commits() {
	me := x.me()
	if me.add.phase == reserving {
		x.then("reservation.Reserve is carried out", func(s *reservationsState, me *reservationsNode) {
			attached := x.attach(s, me.add.reserve)
			switch {
			case !attached:
				me.add = adding{phase: begun}
			case x.n == holder:
				me.add.phase, me.add.epoch = reserved, s.record.epoch
			default:
				me.add.epoch = s.record.epoch
				x.commitAdd(s, me) // at once, which is the worst for A
			}
		})
	}
	if me.late.sent {
		x.then("reservation.Reserve, late, is carried out", func(s *reservationsState, me *reservationsNode) {
			x.attach(s, me.late)
			me.late = attaching{}
		})
		x.then("reservation.Reserve, late, is lost", func(_ *reservationsState, me *reservationsNode) { me.late = attaching{} })
	}
	if me.detach.sent {
		name := "reservation.Detach is carried out"
		if me.detach.ends {
			name = "reservation.EndHeld is carried out"
		}
		x.then(name, func(s *reservationsState, me *reservationsNode) {
			switch as := s.record == me.detach.expect; {
			case as && me.detach.ends:
				s.record = attachedTo{ended: true}
			case as || x.m.Breach == NoEpoch && s.record.node == x.self():
				s.record.node = 0
			}
			me.detach = detaching{}
		})
	}
}

// attach carries a Reserve out, if nothing that it compares has changed.
func (x reservationsTurn) attach(s *reservationsState, t attaching) bool {
	if x.n == holder && (t.generation != s.keys.generation || !s.keys.session) {
		return false
	}
	if t.absent != 0 && (s.keys.session || t.absent != s.keys.generation && x.m.Breach != NoNodeCompare) {
		return false
	}
	if t.expect != s.record && x.m.Breach != NoBlockCompare {
		return false
	}
	again := s.record.node == x.self() && x.m.Breach == SameEpochAgain
	if s.record.node = x.self(); !again {
		s.record.epoch++
	}
	return true
}

// detach tells etcd of the detachments that it does not know, until a read or an answer shows that it does. A Detach
// that nobody waits for any more may still be carried out.
func (x reservationsTurn) detach() {
	me, r := x.me(), x.s.record
	if me.pending == 0 {
		return
	}
	if r.node != x.self() || me.pending&(1<<r.epoch) == 0 && x.m.Breach != NoEpoch {
		x.then("sees that it has let go", func(_ *reservationsState, me *reservationsNode) { me.pending = 0 })
	} else if !me.detach.sent {
		x.then("reservation.Detach", func(_ *reservationsState, me *reservationsNode) { me.detach = detaching{sent: true, expect: r} })
		if x.m.Ends {
			x.then("reservation.EndHeld", func(_ *reservationsState, me *reservationsNode) { me.detach = detaching{true, r, true} })
		}
	}
}

// watch is what an agent does about what etcd says of the reservation.
func (x reservationsTurn) watch() {
	me, r := x.me(), x.s.record
	if x.lost(me, r) && !me.cut {
		x.then("sees the reservation with another, and isolates", func(_ *reservationsState, me *reservationsNode) { x.compareHolder(me, r) })
	}
	if x.m.lets(&x.s, x.n) {
		x.then("sees that it holds what it does not know", func(_ *reservationsState, me *reservationsNode) { me.pending |= 1 << r.epoch })
	}
}

// lost reports whether the container that the journal has lost its address by a record: it is another's, or has been
// since. Nobody holds it then; but whoever comes next waits for nobody.
func (x reservationsTurn) lost(me *reservationsNode, r attachedTo) bool {
	if me.entry.life == 0 || r.node == x.self() && !r.ended || x.m.Breach == NoIsolation {
		return false
	}
	if r.ended && x.n == holder && x.m.Breach != OnlyEpochsCount {
		return true
	}
	return r.epoch > me.entry.epoch && (r.node != 0 || x.m.Breach != OnlyHoldersCount)
}

func (x reservationsTurn) compareHolder(me *reservationsNode, r attachedTo) {
	me.cut = me.cut || x.lost(me, r)
}
