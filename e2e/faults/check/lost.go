package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// notLost finds containers that were answered, that nobody began to delete and whose node was not rebooted since, and
// that are silent although all is well again.
func (x *index) notLost() (violations []Violation) {
	for _, l := range x.sorted() {
		if l.answered == forever || l.deleted < x.End || l.rebooted < x.End || x.isolable(l) {
			continue
		}
		for _, address := range l.addresses {
			if who := x.deaf(l, address); who != "" {
				violations = append(violations, Violation{
					Rule: NotLost, Address: address, Member: l.member, Containers: []string{l.container}, At: x.End,
					What: fmt.Sprintf("%v was answered %v at %s, and %s hears it from %s to %s", l, address, clock(l.answered), who,
						clock(x.Whole), clock(x.End)),
					Evidence: x.evidence(x.End, l),
				})
			}
		}
	}
	return violations
}

// deaf tells who does not hear a container when all is well: nobody, or nobody by the routes of some nodes; empty: all do.
func (x *index) deaf(l *life, address netip.Addr) string {
	heard := map[string]bool{}
	for _, s := range x.seen[address] {
		if s.MAC == l.mac && s.Sent >= x.Whole {
			heard[s.Via] = true
		}
	}
	if len(heard) == 0 {
		return "nobody"
	}
	without := slices.DeleteFunc(slices.Clone(x.Nodes), func(node string) bool { return heard[node] })
	if len(without) == 0 {
		return ""
	}
	return "nobody by the routes of " + strings.Join(without, ", ")
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
