package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// kept finds members that were answered another address than before, though nobody had given their reservation up, and
// replicas whose ADD was repeated with another answer.
func (x *index) kept() (violations []Violation) {
	byMember := map[string][]*life{}
	for _, l := range x.sorted() {
		if l.member != "" {
			byMember[l.member] = append(byMember[l.member], l)
		}
	}
	for member, lives := range byMember {
		violations = append(violations, x.keptBy(member, lives)...)
	}
	for _, l := range x.sorted() {
		if l.member == "" && !x.isolable(l) {
			violations = append(violations, x.keptBy(l.container, []*life{l})...)
		}
	}
	slices.SortFunc(violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return violations
}

// an answer is an ADD that was answered, or the end of a reservation.
type answer struct {
	Operation
	life *life
}

func (x *index) keptBy(member string, lives []*life) (violations []Violation) {
	var answers []answer
	for _, l := range lives {
		for _, o := range l.adds {
			if o.Outcome == OK {
				answers = append(answers, answer{o, l})
			}
		}
	}
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.End, b.End) })
	for i := 1; i < len(answers); i++ {
		before, now := answers[i-1], answers[i]
		if slices.Equal(before.Addresses, now.Addresses) || x.givenUp(member, before.Begin, now.End) || x.forgotten(lives, answers[:i], now.End) {
			continue
		}
		violations = append(violations, Violation{
			Rule: Kept, Address: now.Addresses[0], Member: now.Member, Containers: []string{before.Container, now.Container}, At: now.End,
			What: fmt.Sprintf("%s was answered %s as %v, and had %s as %v", member, addresses(now.Addresses), now.life,
				addresses(before.Addresses), before.life),
			Evidence: x.evidence(now.End, before.life, now.life),
		})
	}
	return violations
}

// givenUp reports whether somebody may have given the reservation up in between.
func (x *index) givenUp(member string, from, to time.Duration) bool {
	return slices.ContainsFunc(x.Operations, func(o Operation) bool {
		return o.Verb == Release && o.Member == member && o.End >= from && o.Begin <= to
	})
}

// forgotten reports whether a restore took the member's reservation back: it is younger than what was restored, and
// no container had it then that would have asserted it again.
func (x *index) forgotten(lives []*life, answers []answer, until time.Duration) bool {
	for _, r := range x.Restores {
		if r.At > until || answers[0].End < r.Taken {
			continue
		}
		asserted := slices.ContainsFunc(lives, func(l *life) bool {
			return l.answered < r.Taken && l.deleted > r.At && l.rebooted > r.At
		})
		if !asserted {
			return true
		}
	}
	return false
}
