package check

import (
	"fmt"
	"slices"
	"time"
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
				What:     fmt.Sprintf("%v was answered %v at %s, and nobody hears it from %s to %s", l, address, clock(l.answered), clock(x.Whole), clock(x.End)),
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
	for _, a := range x.absent[l.node] {
		if min(a.End, x.End)-max(a.Begin, l.adds[0].Begin) >= x.rules.AddressLease*7/10 {
			return true
		}
	}
	return false
}

// succeeded reports whether another container of the member may have got its address after l, while l's node was away.
func (x *index) succeeded(l *life) bool {
	for _, other := range x.lives {
		if other == l || other.member != l.member {
			continue
		}
		for _, o := range other.adds {
			if _, away := x.away(l.node, max(o.Begin, l.answered)-x.lag(), o.End); away && o.End >= l.adds[0].Begin && (o.Outcome == OK || o.Node != l.node) {
				return true
			}
		}
	}
	return false
}

// lag is how long after a node's return its session may still be missing.
func (x *index) lag() time.Duration { return x.rules.Session + grace }
