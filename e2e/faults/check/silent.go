package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// hush is how long a container may be silent without a reason: a busy machine answers late, and not never.
	hush = 500 * time.Millisecond
	// dropped is how many of a thousand requests a node's containers may leave unanswered without a reason. A machine with
	// sixty busy programs on two cores loses three; a fence that closes for a moment at each renewal, sixteen.
	dropped = 5
)

// silent finds containers that were answered, live on a node that has its right, and do not answer all the same: for a while,
// or again and again for a moment.
func (x *index) silent() (violations []Violation) {
	missed := map[string][]Miss{} // by node
	asked := map[string]int{}
	for _, l := range x.sorted() {
		gaps, answered := x.unexplained(l)
		if from, to := longest(gaps, x.answersOf(l)); to-from > hush {
			violations = append(violations, Violation{
				Rule: Silent, Address: gaps[0].Address, Member: l.member, Containers: []string{l.container}, At: to,
				What:     fmt.Sprintf("%v has its right, and no request to it was answered from %s to %s", l, clock(from), clock(to)),
				Evidence: x.evidence(to, l),
			})
			continue
		}
		missed[l.node] = append(missed[l.node], gaps...)
		asked[l.node] += len(gaps) + answered
	}
	for node, gaps := range missed {
		if n := len(gaps); n > few && n*1000 > asked[node]*dropped {
			violations = append(violations, Violation{
				Rule: Silent, Address: gaps[0].Address, At: gaps[0].Sent,
				What: fmt.Sprintf("containers of %s that have their right did not answer %d of %d requests, the first at %s", node, n, asked[node],
					clock(gaps[0].Sent)),
			})
		}
	}
	slices.SortFunc(violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return violations
}

// few requests may be lost on any machine.
const few = 5

// Unanswered counts the requests to containers that have their right and live undisturbed, and those that nobody answered.
func Unanswered(h *History, rules Rules) (missed, asked int) {
	x := newIndex(h, rules)
	for _, l := range x.sorted() {
		gaps, answered := x.unexplained(l)
		missed, asked = missed+len(gaps), asked+len(gaps)+answered
	}
	return missed, asked
}

// unexplained are the requests to a container that nobody answered while nothing explains it, in their order, and how many
// were answered meanwhile.
func (x *index) unexplained(l *life) (gaps []Miss, answered int) {
	from, to := l.answered+soon, min(l.deleted, l.rebooted, x.End)-hush
	if l.answered == forever || to < from || x.isolable(l) {
		return nil, 0
	}
	excused := x.excuses(l)
	counts := func(at time.Duration) bool {
		return at >= from && at <= to && !slices.ContainsFunc(excused, func(s span) bool { return s.from <= at && at <= s.to })
	}
	for _, m := range x.Missed {
		if m.To == l.mac && slices.Contains(l.addresses, m.Address) && counts(m.Sent) { // else it went to another holder
			gaps = append(gaps, m)
		}
	}
	for _, s := range x.answersOf(l) {
		if counts(s) {
			answered++
		}
	}
	slices.SortFunc(gaps, func(a, b Miss) int { return cmp.Compare(a.Sent, b.Sent) })
	return gaps, answered
}

// answersOf are the times at which requests were sent that a container answered, in order.
func (x *index) answersOf(l *life) (sent []time.Duration) {
	for _, a := range l.addresses {
		for _, s := range x.seen[a] {
			if s.MAC == l.mac {
				sent = append(sent, s.Sent)
			}
		}
	}
	slices.Sort(sent)
	return sent
}

// longest is the longest time between two requests of which no one between them was answered.
func longest(gaps []Miss, answered []time.Duration) (from, to time.Duration) {
	for i := 0; i < len(gaps); {
		next, _ := slices.BinarySearch(answered, gaps[i].Sent)
		end := forever
		if next < len(answered) {
			end = answered[next]
		}
		j := i
		for j+1 < len(gaps) && gaps[j+1].Sent < end {
			j++
		}
		if gaps[j].Sent-gaps[i].Sent > to-from {
			from, to = gaps[i].Sent, gaps[j].Sent
		}
		i = j + 1
	}
	return from, to
}

// excuses are the times in which a container may be silent: its node has lost its right or is about to, joins anew after its
// session was revoked, its clock jumped, or recovers with the cluster after a restore.
func (x *index) excuses(l *life) (spans []span) {
	spans = x.takable(l.node, l.class())
	for _, a := range x.Absences {
		if a.Node != l.node {
			continue
		}
		if out := a.Begin + x.rules.right(l.class()) - x.rules.proof(); out <= a.End {
			spans = append(spans, span{out, x.grace(l.node, a.End)})
		}
		if a.Reason == reasonClock {
			spans = append(spans, span{a.Begin, x.grace(l.node, a.End)})
		}
	}
	for _, r := range x.Revocations {
		if r.Node == l.node {
			spans = append(spans, span{r.At, x.grace(l.node, x.back(l.node, r.At))})
		}
	}
	for _, r := range x.Restores {
		spans = append(spans, span{r.At, x.grace(l.node, r.At+2*max(x.rules.AddressLease, x.rules.Session))})
	}
	return spans
}

// reasonClock is the reason of an absence after which a node's clock has jumped: it closes what may pass until it has settled.
const reasonClock = "clock"
