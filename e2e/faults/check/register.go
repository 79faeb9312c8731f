package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	inFlight = 60 * time.Second // how long after its end a request of unknown outcome may still take effect
	patience = 10 * time.Second // for one identity
	recent   = 30 * time.Second // what happened so long before a violation may have led to it
)

// A change is an attachment of a member's reservation to a container, or its end, as an input of the register.
type change struct {
	verb      Verb
	container string
	sure      bool            // it has taken effect when it ends
	over      map[string]bool // the containers that it may take the reservation from
}

// register is a reservation as a value: the container that it is attached to, or none. An attachment takes it when
// nobody has it, or from one whose node has lost it; a detachment by another changes nothing.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		holder, c := state.(string), input.(change)
		if c.verb == Del {
			if holder == c.container {
				holder = ""
			}
			return true, holder
		}
		if holder == "" || holder == c.container || c.over[holder] {
			return true, c.container
		}
		return !c.sure, holder
	},
}

// registers finds members whose attachments cannot have followed each other in any order that their times allow.
func (x *index) registers() (violations []Violation, undecided int) {
	byMember := map[string][]*life{}
	for _, l := range x.sorted() {
		if l.member != "" {
			byMember[l.member] = append(byMember[l.member], l)
		}
	}
	for _, member := range slices.Sorted(maps.Keys(byMember)) {
		lives := byMember[member]
		history := x.changes(lives)
		switch porcupine.CheckOperationsTimeout(register, history, patience) {
		case porcupine.Unknown:
			undecided++
		case porcupine.Illegal:
			violations = append(violations, x.illegal(member, lives, history))
		}
	}
	return violations, undecided
}

// changes are what was asked of a member's reservation.
func (x *index) changes(lives []*life) (history []porcupine.Operation) {
	for client, l := range lives {
		enter := func(o Operation, c change) {
			end := o.End
			if !c.sure {
				end += inFlight
			}
			history = append(history, porcupine.Operation{ClientId: client, Input: c, Call: int64(o.Begin), Return: int64(end), Metadata: l})
		}
		for _, o := range l.adds {
			c := change{verb: Add, container: l.container, sure: o.Outcome == OK, over: map[string]bool{}}
			for _, other := range lives {
				if other != l && x.takeable(other, o) {
					c.over[other.container] = true
				}
			}
			// One of unknown outcome that can take nothing from anybody explains nothing that its absence would not.
			if c.sure || len(c.over) > 0 {
				enter(o, c)
			}
		}
		for _, o := range l.dels {
			enter(o, change{verb: Del, container: l.container, sure: o.Outcome == OK})
		}
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return history
}

// takeable reports whether an ADD may take the reservation from a container: its node has lost it or has been rebooted, or
// a restore has taken back what it was given.
func (x *index) takeable(from *life, o Operation) bool {
	end := o.End
	if o.Outcome != OK {
		end += inFlight
	}
	lost := slices.ContainsFunc(x.takable(from.node, stateful), func(s span) bool { return s.from <= end && s.to >= o.Begin })
	return lost || from.rebooted <= end || x.undone(from.adds[0].Begin, end)
}

// illegal names the change with which the history stops being possible.
func (x *index) illegal(member string, lives []*life, history []porcupine.Operation) Violation {
	ends := slices.SortedFunc(slices.Values(history), func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	last := ends[len(ends)-1]
	for _, o := range ends {
		if porcupine.CheckOperationsTimeout(register, until(history, o.Return), patience) == porcupine.Illegal {
			last = o
			break
		}
	}
	at, by := time.Duration(last.Return), last.Metadata.(*life)
	v := Violation{Rule: Register, Member: member, Containers: []string{by.container}, At: at}
	involved := []*life{by}
	for _, l := range lives {
		if l != by && l.answered < at && l.deleted > at && l.rebooted > at {
			involved = append(involved, l)
			v.Containers = append(v.Containers, l.container)
		}
	}
	v.What = fmt.Sprintf("the reservation of %s cannot have been attached to %v by %s: others have it", member, by, clock(at))
	if len(by.addresses) > 0 {
		v.Address = by.addresses[0]
	}
	for _, l := range lives { // and who has just had it
		if !slices.Contains(involved, l) &&
			slices.ContainsFunc(slices.Concat(l.adds, l.dels), func(o Operation) bool { return o.End >= at-recent && o.Begin <= at }) {
			involved = append(involved, l)
		}
	}
	v.Evidence = x.evidence(at, involved...)
	return v
}

// until is the history as it was known at an instant: what had not ended by then may have taken effect or not.
func until(history []porcupine.Operation, instant int64) (known []porcupine.Operation) {
	for _, o := range history {
		if o.Call > instant {
			continue
		}
		if o.Return > instant {
			c := o.Input.(change)
			c.sure = false
			o.Input = c
		}
		known = append(known, o)
	}
	return known
}
