package model

// removed is a transaction of an operator's node remove.
const removed = "what a removed node has becomes nobody's"

// removes is an operator's node remove: a tombstone, once A was absent for its right, and then what A has is nobody's.
func (x rightsTurn) removes() {
	if me, a := x.me(), x.others(); !x.m.Removals || x.n != taker || a.session || me.sent.kind != nothing {
		return
	} else if me.absent.generation == a.generation && me.absent.wait == 0 && a.generation < x.m.Joins {
		x.then("session.WriteTombstone", func(s *rightsState, _ *rightsNode) {
			s.keys[holder].generation++
			s.tomb = s.keys[holder].generation
		})
	}
	if s := x.s; s.tomb == x.others().generation && s.owner == holder+1 && s.rev < x.m.Changes {
		x.then("reads what a removed node has", func(_ *rightsState, me *rightsNode) {
			me.sent = blockTxn{kind: remove, rev: s.rev, other: s.tomb}
		})
	}
}
