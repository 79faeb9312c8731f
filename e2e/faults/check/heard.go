package check

import (
	"fmt"
	"slices"
	"time"
)

// soon is how long a container may live without being heard: the watcher asks for what was answered many times a second.
const soon = 2 * time.Second

// neverHeard finds containers that were answered, lived for a while on a node that nothing had befallen, and were never
// there on the network.
func (x *index) neverHeard() (violations []Violation) {
	for _, l := range x.sorted() {
		end := min(l.deleted, l.rebooted, x.End)
		if l.answered == forever || end < l.answered+soon || x.troubled(l, end) {
			continue
		}
		for _, address := range l.addresses {
			if slices.ContainsFunc(x.seen[address], func(s Sighting) bool { return s.MAC == l.mac && s.At >= l.adds[0].Begin && s.Sent <= end }) {
				continue
			}
			violations = append(violations, Violation{
				Rule: NotLost, Address: address, Member: l.member, Containers: []string{l.container}, At: end,
				What:     fmt.Sprintf("%v was answered %v at %s, and was never heard until %s", l, address, clock(l.answered), clock(end)),
				Evidence: x.evidence(end, l),
			})
		}
	}
	return violations
}

// troubled reports whether a container may be silent until some time, since its node was away or may have lost it.
func (x *index) troubled(l *life, until time.Duration) bool {
	since := l.adds[0].Begin - x.rules.AddressLease
	near := func(node string, from, to time.Duration) bool { return node == l.node && from <= until && to >= since }
	return x.isolable(l) ||
		slices.ContainsFunc(x.Absences, func(a Absence) bool { return near(a.Node, a.Begin, a.End) }) ||
		slices.ContainsFunc(x.Revocations, func(r Revocation) bool { return near(r.Node, r.At, r.At) }) ||
		slices.ContainsFunc(x.Restores, func(r Restore) bool { return near(l.node, r.At, r.At) })
}
