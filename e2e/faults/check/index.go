package check

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// A life is a container from its first ADD to its end, as its requests tell.
type life struct {
	container, node, member string
	mac                     MAC
	adds, dels              []Operation
	addresses               []netip.Addr  // of the first ADD that was answered
	answered                time.Duration // when it was; never: forever
	deleted                 time.Duration // when the first DEL began; never: forever
	rebooted                time.Duration // when the node was; never: forever
}

const forever = time.Duration(1<<63 - 1)

// index is a history in the order in which the rules want it.
type index struct {
	*History
	rules  Rules
	lives  map[string]*life // by container
	owner  map[MAC]*life
	seen   map[netip.Addr][]Sighting // in order of At
	absent map[string][]Absence      // by node, in order, those that overlap or nearly do joined to one
}

func newIndex(h *History, rules Rules) *index {
	x := &index{History: h, rules: rules, lives: map[string]*life{}, owner: map[MAC]*life{}, seen: map[netip.Addr][]Sighting{}}
	operations := slices.SortedFunc(slices.Values(h.Operations), func(a, b Operation) int { return cmp.Compare(a.Begin, b.Begin) })
	for _, o := range operations {
		x.enter(o)
	}
	for _, l := range x.lives {
		for _, r := range h.Reboots {
			if r.Node == l.node && r.At > l.adds[0].Begin && r.At < l.rebooted {
				l.rebooted = r.At
			}
		}
	}
	for _, s := range slices.SortedFunc(slices.Values(h.Sightings), func(a, b Sighting) int { return cmp.Compare(a.At, b.At) }) {
		x.seen[s.Address] = append(x.seen[s.Address], s)
	}
	x.absent = x.joined()
	return x
}

func (x *index) enter(o Operation) {
	if o.Container == "" || o.Verb != Add && o.Verb != Del {
		return
	}
	l := x.lives[o.Container]
	if l == nil {
		if o.Verb == Del {
			return // of what never was
		}
		l = &life{container: o.Container, node: o.Node, member: o.Member, mac: o.MAC, answered: forever, deleted: forever, rebooted: forever}
		x.lives[o.Container] = l
		x.owner[o.MAC] = l
	}
	if o.Verb == Del {
		l.dels = append(l.dels, o)
		l.deleted = min(l.deleted, o.Begin)
		return
	}
	l.adds = append(l.adds, o)
	if o.Outcome == OK && l.answered == forever {
		l.answered, l.addresses = o.End, o.Addresses
	}
}

// joined gives each node's absences, those with less than the grace between them as one, as the node may not have come
// to itself in so short a time.
func (x *index) joined() map[string][]Absence {
	absent := map[string][]Absence{}
	for _, a := range slices.SortedFunc(slices.Values(x.Absences), func(a, b Absence) int { return cmp.Compare(a.Begin, b.Begin) }) {
		have := absent[a.Node]
		if n := len(have); n > 0 && a.Begin < x.grace(a.Node, have[n-1].End) {
			if a.End > have[n-1].End {
				have[n-1].End = a.End
			}
			if a.Reason != have[n-1].Reason {
				have[n-1].Reason += ", " + a.Reason
			}
			continue
		}
		absent[a.Node] = append(have, a)
	}
	return absent
}

// undone reports whether a restore took back what was agreed after since, at some time up to until.
func (x *index) undone(since, until time.Duration) bool {
	return slices.ContainsFunc(x.Restores, func(r Restore) bool { return r.Taken <= since && since <= r.At && r.At <= until })
}

// sorted are the lives in the order in which they began.
func (x *index) sorted() []*life {
	var all []*life
	for _, l := range x.lives {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *life) int {
		return cmp.Or(cmp.Compare(a.adds[0].Begin, b.adds[0].Begin), cmp.Compare(a.container, b.container))
	})
	return all
}
