package check

import (
	"fmt"
	"slices"
)

// notLost finds containers that were answered, that nobody began to delete and whose node was not rebooted since, and
// that are silent although all is well again.
func (x *index) notLost() (violations []Violation) {
	for _, l := range x.sorted() {
		if l.answered == forever || l.deleted < x.End || l.rebooted < x.End || x.isolable(l) {
			continue
		}
		for _, address := range l.addresses {
			if slices.ContainsFunc(x.seen[address], func(s Sighting) bool { return s.MAC == l.mac && s.Sent >= x.Whole }) {
				continue
			}
			violations = append(violations, Violation{
				Rule: NotLost, Address: address, Member: l.member, Containers: []string{l.container}, At: x.End,
				What: fmt.Sprintf("%v was answered %v at %s, and nobody hears it from %s to %s", l, address, clock(l.answered), clock(x.Whole),
					clock(x.End)),
				Evidence: x.evidence(x.End, l),
			})
		}
	}
	return violations
}

// Isolable names the containers that may have lost their address for good, by what the history tells: their node was
// away for longer than their right, another container of the member was begun since, or a restore took back what
// they were given.
func Isolable(h *History, rules Rules) map[string]bool {
	x := newIndex(h, rules)
	found := map[string]bool{}
	for _, l := range x.lives {
		if l.answered != forever && x.isolable(l) {
			found[l.container] = true
		}
	}
	return found
}

func (x *index) isolable(l *life) bool {
	if x.undone(l.answered, x.End) {
		return true
	}
	if l.member != "" {
		return x.succeeded(l)
	}
	return slices.ContainsFunc(x.takable(l.node, stateless), func(s span) bool {
		return l.adds[0].Begin <= s.from+x.rules.proof()
	})
}

// succeeded reports whether another container of the member may have got its address after l, from l's node.
func (x *index) succeeded(l *life) bool {
	for _, other := range x.lives {
		if other == l || other.member != l.member {
			continue
		}
		for _, o := range other.adds {
			if o.End < l.adds[0].Begin || o.Outcome != OK && o.Node == l.node {
				continue
			}
			if slices.ContainsFunc(x.takable(l.node, stateful), func(s span) bool { return s.from <= o.End && s.to >= max(o.Begin, l.answered) }) {
				return true
			}
		}
	}
	return false
}
