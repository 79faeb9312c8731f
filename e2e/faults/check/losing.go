package check

import (
	"cmp"
	"slices"
	"time"
)

// A class is one of those that have a right each.
type class string

const (
	stateful  class = "stateful"
	stateless class = "stateless"
)

func (l *life) class() class {
	if l.member != "" {
		return stateful
	}
	return stateless
}

func (r Rules) right(c class) time.Duration {
	if c == stateful {
		return r.Session
	}
	return r.AddressLease
}

// proof is how old the proof that a right counts from may be when the node goes away: a fifth of the session, and what
// the machine adds.
func (r Rules) proof() time.Duration { return r.Session * 3 / 10 }

// A span is a time in which others may have what a node holds of a class.
type span struct{ from, to time.Duration }

// losing gives the spans of a node. Each begins when the right has run out and the node is still away, for members also
// when the session was revoked; it ends with the grace after the node is back. In strict mode who takes a member waits
// for the right once more.
func (x *index) losing(node string, c class) (spans []span) {
	wait := time.Duration(0)
	if x.rules.Strict && c == stateful {
		wait = x.rules.Session
	}
	add := func(s span) {
		if s.from += wait; s.from <= s.to {
			spans = append(spans, s)
		}
	}
	for _, a := range x.absent[node] {
		if out := a.Begin + x.rules.right(c) - x.rules.proof(); out <= a.End {
			add(span{out, x.grace(node, a.End)})
		}
	}
	for _, r := range x.Revocations {
		if r.Node == node && c == stateful {
			add(span{r.At, x.grace(node, x.back(node, r.At))})
		}
	}
	return spans
}

// takable gives the spans in which others may take what a node holds: those in which it is losing it, and those in which
// etcd has had no session of the node for long enough, though nothing excuses that. They excuse no address that is live
// twice in evidence mode.
func (x *index) takable(node string, c class) []span {
	spans := x.losing(node, c)
	wait := x.rules.AddressLease
	if c == stateful {
		wait = 0
		if x.rules.Strict {
			wait = x.rules.Session
		}
	}
	for _, a := range x.Sessionless {
		if a.Node == node && a.End-a.Begin >= wait {
			spans = append(spans, span{a.Begin + wait, x.grace(node, a.End)})
		}
	}
	return spans
}

// back is when a node that something befell is there again: at once, unless it is away or about to be.
func (x *index) back(node string, at time.Duration) time.Duration {
	for _, a := range x.absent[node] {
		if a.Begin <= x.grace(node, at) && a.End >= at {
			return a.End
		}
	}
	return at
}

// An Excuse is how much of a run evidence mode excuses two holders of an address, in the time of single nodes.
type Excuse struct{ Stateful, Stateless time.Duration }

// Excused adds up what is excused of a history.
func Excused(h *History, rules Rules) (e Excuse) {
	if rules.Strict {
		return e
	}
	x := newIndex(h, rules)
	nodes := map[string]bool{}
	for node := range x.absent {
		nodes[node] = true
	}
	for _, r := range h.Revocations {
		nodes[r.Node] = true
	}
	for node := range nodes {
		e.Stateful += length(x.losing(node, stateful), h.End)
		e.Stateless += length(x.losing(node, stateless), h.End)
	}
	return e
}

// length is how much of the time until end is in at least one of the spans.
func length(spans []span, end time.Duration) (sum time.Duration) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var until time.Duration
	for _, s := range spans {
		from, to := max(s.from, until), min(s.to, end)
		sum += max(0, to-from)
		until = max(until, to)
	}
	return sum
}
