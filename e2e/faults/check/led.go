package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	// following is how long the routes of other nodes may take to lead to where a member was added, besides the time in which nodes
	// work for it (working), which is as much longer as the machine is slow.
	following = 500 * time.Millisecond
	// unheard is how long a watch is silent at most whose member of etcd hangs, or whose way to it: gRPC's shortest keep-alive, and
	// its answer's time.
	unheard = 15 * time.Second
	// resuming is how long a connection may need to go on after its way was cut, besides as long again as it was.
	resuming = time.Second
)

// Unknown is where a kernel leads that could not be asked.
const Unknown = "?"

// A spot is an address as a node's kernel leads to it.
type spot struct {
	node    string
	address netip.Addr
}

// A course is what a node's route to an address did after an ADD of it elsewhere.
type course struct {
	spot
	life     *life
	from     time.Duration // the ADD was answered
	until    time.Duration // it has the address for sure until then
	since    time.Duration // the node has had nothing since then that excuses it, while it led elsewhere
	to       string        // where it led last, but to the container's node; empty: nowhere
	wrong    time.Duration // it still led there then; 0: it never did
	deadline time.Duration
	stated   time.Duration // when it has to lead there, but for what excuses it
	excused  bool          // something does, on the ADD's account
}

// misled finds nodes that did not lead to where a member was for longer than stated, though nothing kept them from etcd.
func (x *index) misled() (violations []Violation) {
	for _, c := range x.courses() {
		if c.wrong <= c.deadline {
			continue
		}
		where := "refused what was sent to it"
		if c.to != "" {
			where = "led to " + c.to
		}
		violations = append(violations, Violation{
			Rule: Led, Address: c.address, Member: c.life.member, Containers: []string{c.life.container}, At: c.wrong,
			What: fmt.Sprintf("%v was answered %v at %s, and %s %s still at %s: want that it led there by %s", c.life, c.address, clock(c.from),
				c.node, where, clock(c.wrong), clock(c.deadline)),
			Evidence: append(x.evidence(c.wrong, c.life, &life{node: c.node}), x.led(c)...),
		})
	}
	slices.SortFunc(violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return violations
}

// A Following is how the routes of nodes followed members that were added elsewhere.
type Following struct {
	All     int           // routes: each other node's to each address, of each ADD
	Short   int           // of them those whose member was gone, or asked for elsewhere, within the stated time
	Excused int           // those that something excused within it
	Slowest time.Duration // of the others, from the ADD's answer on
}

// Followed sums up how the routes of nodes followed members.
func Followed(h *History, rules Rules) (f Following) {
	for _, c := range newIndex(h, rules).courses() {
		f.All++
		if c.stated > c.until {
			f.Short++
		} else if c.excused {
			f.Excused++
		} else {
			f.Slowest = max(f.Slowest, c.wrong-c.from)
		}
	}
	return f
}

// courses are those of all ADDs of members that were answered.
func (x *index) courses() (all []course) {
	ways := map[spot][]Way{}
	for _, w := range x.Ways {
		ways[spot{w.Node, w.Address}] = append(ways[spot{w.Node, w.Address}], w)
	}
	excuses := map[string][]span{}
	for s := range ways {
		if excuses[s.node] == nil {
			excuses[s.node] = x.detached(s.node)
		}
	}
	for _, l := range x.sorted() {
		for _, o := range l.adds {
			until := x.held(l, o)
			for s, of := range ways {
				if slices.Contains(o.Addresses, s.address) && s.node != l.node && until > o.End {
					all = append(all, x.course(course{spot: s, life: l, from: o.End, until: until}, of, excuses[s.node]))
				}
			}
		}
	}
	return all
}

// held is until when a container has its member's address for sure, after an ADD that was answered; before that: not at all.
func (x *index) held(l *life, o Operation) time.Duration {
	until := min(l.deleted, l.rebooted, x.End)
	if l.member == "" || o.Outcome != OK {
		return 0
	}
	for _, other := range x.lives {
		if other == l || other.member != l.member {
			continue
		}
		for _, theirs := range other.adds {
			switch {
			case theirs.Begin >= o.End:
				until = min(until, theirs.Begin)
			case theirs.End >= o.Begin:
				return 0
			case theirs.Outcome != OK && theirs.End+inFlight > o.Begin: // it may be carried out yet, where the node has lost its right
				for _, s := range x.takable(l.node, stateful) {
					if s.to > o.End {
						until = min(until, s.from)
					}
				}
			}
		}
	}
	for _, r := range x.Restores {
		if r.Taken <= o.End && o.End <= r.At || r.At <= o.End && o.End <= x.recovered(r) {
			until = min(until, max(r.At, o.Begin))
		}
	}
	return until
}

// course follows a node's route. Where it leads elsewhere time and again, the first time that is too long counts, or the last at all.
func (x *index) course(c course, ways []Way, excuses []span) course {
	c.since, c.stated = c.from, x.pace(c.from, following)
	c.deadline = x.due(&c.since, excuses)
	c.excused = c.since != c.from
	for i := 0; i < len(ways); i++ {
		if ways[i].To == c.life.node || ways[i].To == Unknown || ways[i].End < c.from || ways[i].Begin > c.until {
			continue
		}
		last := i
		for last+1 < len(ways) && ways[last+1].To != c.life.node && ways[last+1].To != Unknown && ways[last+1].Begin <= c.until {
			last++
		}
		since, wrong, to := max(ways[i].Begin, c.from), min(ways[last].End, c.until), ways[last].To
		deadline := x.due(&since, excuses)
		if c.since, c.deadline, c.wrong, c.to = since, deadline, wrong, to; wrong > deadline {
			break
		}
		i = last
	}
	return c
}

// due is when a route has to lead where it should that does not since some time. That begins anew with the end of what excuses it.
func (x *index) due(since *time.Duration, excuses []span) time.Duration {
	deadline := x.pace(*since, following)
	for _, e := range excuses {
		if e.from <= deadline && e.to > *since {
			*since = e.to
			deadline = x.pace(*since, following)
		}
	}
	return deadline
}

// detached are the times in which a node need not know what etcd holds, in order: it has no agent or does not reach etcd, its session was
// revoked, its watch may be at a member of etcd that does not answer it, or the cluster recovers from a restore.
func (x *index) detached(node string) (spans []span) {
	for _, a := range x.absent[node] {
		spans = append(spans, span{a.Begin, x.joins(node, a)})
	}
	for _, r := range x.Revocations {
		if r.Node == node {
			spans = append(spans, span{r.At, x.grace(node, x.back(node, r.At))})
		}
	}
	for _, f := range x.Faults {
		if f.Node == "" || f.Node == node && f.What == partitioned {
			again := min(f.Begin+unheard, f.End+(f.End-f.Begin)) + resuming
			spans = append(spans, span{f.Begin, again})
		}
	}
	for _, r := range x.Restores {
		spans = append(spans, span{r.At, x.recovered(r)})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return spans
}

// joins is when a node that was away has joined again, and knows what etcd holds. What it had asked of a member of etcd that hung
// meanwhile has to be asked of another, too.
func (x *index) joins(node string, a Absence) time.Duration {
	end := x.grace(node, a.End)
	return max(end, x.pace(a.End, waiting+time.Duration(x.hangs(node, a.Begin, end))*hanging))
}

// recovered is when the cluster has agreed again on what it holds after a restore.
func (x *index) recovered(r Restore) time.Duration {
	return x.pace(r.At+2*max(x.rules.AddressLease, x.rules.Session), waiting)
}

// led tells where a node led to an address, around a violation.
func (x *index) led(c course) (lines []string) {
	for _, w := range x.Ways {
		if w.Node == c.node && w.Address == c.address && w.End >= c.from-soon && w.Begin <= c.wrong+soon {
			lines = append(lines, fmt.Sprintf("%10s  until %s %s led to %q", clock(w.Begin), clock(w.End), w.Node, w.To))
		}
	}
	return lines
}
