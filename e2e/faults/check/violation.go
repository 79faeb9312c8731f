package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Rule is what a violation is one of.
type Rule string

// The rules.
const (
	Unique   Rule = "unique"   // no address is live twice
	Kept     Rule = "kept"     // a member keeps its address
	NotLost  Rule = "not lost" // who was answered and not deleted is there when all is well
	Silent   Rule = "silent"   // who was answered and has a right is there at every moment
	Ended    Rule = "ended"    // no agent ends that nobody ended
	Register Rule = "register" // a reservation is attached to one container at a time
	Agreed   Rule = "agreed"   // etcd, journals and kernels hold the same in the end
	Cleared  Rule = "cleared"  // nothing is left of what was deleted
	Led      Rule = "led"      // no node's route leads to where a member was, for longer than stated
	Usable   Rule = "usable"   // every address can be had again in the end
)

// A Violation is a rule that does not hold, and what shows it.
type Violation struct {
	Rule       Rule
	Address    netip.Addr // zero where it is about none
	Member     string
	Containers []string
	At         time.Duration
	What       string
	Evidence   []string // the last events, in order
}

// String is all of it, in lines.
func (v Violation) String() string {
	text := fmt.Sprintf("VIOLATION of %q at %s: %s", v.Rule, clock(v.At), v.What)
	for _, line := range v.Evidence {
		text += "\n    " + line
	}
	return text
}

// clock writes a time of the run.
func clock(t time.Duration) string {
	if t == forever {
		return "never"
	}
	return fmt.Sprintf("%.3fs", t.Seconds())
}

const evidenceLines = 24

// event is a line of evidence and when it happened.
type event struct {
	at   time.Duration
	text string
}

// evidence tells what happened to some containers and their nodes until shortly after at: the last of it.
func (x *index) evidence(at time.Duration, lives ...*life) []string {
	var events []event
	nodes := map[string]bool{}
	for _, l := range lives {
		nodes[l.node] = true
		for _, o := range slices.Concat(l.adds, l.dels) {
			words := fmt.Sprintf("%s of %s on %s", o.Verb, o.Container, o.Node)
			if o.Outcome != Refused {
				events = append(events, event{o.Begin, words + " began"})
			}
			events = append(events, event{o.End, fmt.Sprintf("%s: %s %s", words, o.Outcome, cmp.Or(addresses(o.Addresses), o.Words))})
		}
	}
	for _, a := range x.Absences {
		if nodes[a.Node] {
			events = append(events, event{a.Begin, a.Node + " is away: " + a.Reason}, event{a.End, a.Node + " is back: " + a.Reason})
		}
	}
	for _, f := range x.Faults {
		if nodes[f.Node] || f.Node == "" {
			events = append(events, event{f.Begin, strings.TrimSpace(f.Node + " suffers " + f.What)},
				event{f.End, strings.TrimSpace(f.Node + " suffers no more " + f.What)})
		}
	}
	for _, r := range x.Revocations {
		if nodes[r.Node] {
			events = append(events, event{r.At, "the session of " + r.Node + " was revoked"})
		}
	}
	for _, r := range x.Reboots {
		if nodes[r.Node] {
			events = append(events, event{r.At, r.Node + " was rebooted"})
		}
	}
	for _, r := range x.Restores {
		events = append(events, event{r.At, "etcd was brought back to " + clock(r.Taken)})
	}
	events = slices.DeleteFunc(events, func(e event) bool { return e.at > at+soon })
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	events = slices.CompactFunc(events, func(a, b event) bool { return a.text == b.text })
	var lines []string
	for _, e := range events[max(0, len(events)-evidenceLines):] {
		lines = append(lines, fmt.Sprintf("%10s  %s", clock(e.at), e.text))
	}
	return lines
}

func addresses(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

func (l *life) String() string {
	who := l.container + " on " + l.node
	if l.member != "" {
		who += " (" + l.member + ")"
	}
	return who
}
