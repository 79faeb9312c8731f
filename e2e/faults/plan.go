package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Plan is all that is going to be tried, with times: a function of its seed alone. What comes of it is not.
type Plan struct {
	Actions []Action
	Faults  []Fault
}

// An Action is something that a runtime or an operator does. Which containers exist when its time comes is not known
// beforehand: one that has nothing to act on is skipped.
type Action struct {
	At    time.Duration
	Do    Deed
	Place int // of a container: the members come first, then the replicas
	Node  int
}

// A Deed is a kind of action.
type Deed string

// The deeds.
const (
	Start     Deed = "start"
	Stop      Deed = "stop"
	Move      Deed = "move"  // DEL here, then ADD there
	Seize     Deed = "seize" // ADD there while it is still here: goes through only where its node is gone
	Again     Deed = "again" // ADD of what is there already
	Look      Deed = "check"
	Collect   Deed = "gc"
	Configure Deed = "configure"
)

// A Fault is something that breaks, and how long it stays so.
type Fault struct {
	At, For time.Duration
	Kind    Kind
	Node    int // of a node or a member of etcd, whichever the kind strikes
	Variant int // which of the kind's ways
}

// weighed is how often a deed is done, beside the others.
type weighed struct {
	deed   Deed
	weight int
}

var deeds = []weighed{{Start, 30}, {Stop, 10}, {Move, 22}, {Seize, 18}, {Again, 6}, {Look, 8}, {Collect, 3}, {Configure, 3}}

const (
	calmEvery = 50 * time.Second // the time from one calm to the next
	calm      = 8 * time.Second  // in which nothing is broken and nothing breaks
	firstAt   = 2 * time.Second
)

// NewPlan makes the plan of a run.
func NewPlan(seed uint64, size Size, duration time.Duration, kinds []Kind) Plan {
	var plan Plan
	random := rand.New(rand.NewPCG(seed, 1))
	for place := range size.places() {
		plan.Actions = append(plan.Actions,
			Action{At: time.Duration(place) * 50 * time.Millisecond, Do: Start, Place: place, Node: random.IntN(size.Nodes)})
	}
	for at := firstAt; at < duration; at += time.Duration(100+random.IntN(300)) * time.Millisecond {
		plan.Actions = append(plan.Actions, Action{At: at, Do: draw(random), Place: random.IntN(size.places()), Node: skewed(random, size.Nodes)})
	}
	if len(kinds) == 0 {
		return plan
	}
	plan.Faults = faultsOf(seed, size, duration, kinds)
	return plan
}

// faultsOf are the faults of a plan.
func faultsOf(seed uint64, size Size, duration time.Duration, kinds []Kind) (faults []Fault) {
	random := rand.New(rand.NewPCG(seed, 2))
	for at := firstAt; at < duration; at += time.Duration(500+random.IntN(3000)) * time.Millisecond {
		fault := Fault{
			At: at, For: time.Duration(500+random.IntN(2500)) * time.Millisecond,
			Kind: kinds[random.IntN(len(kinds))], Node: random.IntN(12), Variant: random.IntN(12),
		}
		if random.IntN(5) < 2 { // longer than any right
			fault.For += size.AddressLease + time.Duration(random.IntN(6000))*time.Millisecond
		}
		if into := at % calmEvery; into+calm > calmEvery {
			continue
		} else if left := calmEvery - calm - into; fault.For > left {
			fault.For = left
		}
		faults = append(faults, fault)
	}
	return faults
}

func draw(random *rand.Rand) Deed {
	total := 0
	for _, w := range deeds {
		total += w.weight
	}
	n := random.IntN(total)
	for _, w := range deeds {
		if n -= w.weight; n < 0 {
			return w.deed
		}
	}
	return Start
}

// skewed prefers the first nodes, so that they want more addresses than they have.
func skewed(random *rand.Rand, nodes int) int { return min(random.IntN(nodes), random.IntN(nodes)) }

// Lines tell the plan of the faults.
func (p Plan) Lines() (lines []string) {
	for _, f := range slices.SortedFunc(slices.Values(p.Faults), func(a, b Fault) int { return cmp.Compare(a.At, b.At) }) {
		lines = append(lines, fmt.Sprintf("%7.1fs for %4.1fs %s %d/%d", f.At.Seconds(), f.For.Seconds(), f.Kind, f.Node, f.Variant))
	}
	return lines
}
