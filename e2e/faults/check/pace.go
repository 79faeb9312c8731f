package check

import (
	"slices"
	"time"
)

// A Turn is a work of the watcher's that takes so much of a processor's time: it tells how long the machine lets programs wait for
// each other, and nothing else. Whatever becomes of the cluster makes none take longer.
type Turn struct{ Begin, End, Work time.Duration }

// slowness is how much longer the work took than it takes alone.
func (t Turn) slowness() float64 { return float64(t.End-t.Begin) / float64(t.Work) }

// Slowness is how much longer than alone programs took in a run, on average and at most.
func Slowness(h *History) (mean, most float64) {
	for _, t := range h.Turns {
		mean, most = mean+t.slowness()/float64(len(h.Turns)), max(most, t.slowness())
	}
	return mean, most
}

const (
	// waiting and working are how long an agent that is back may need until its node has isolated what it lost, and lets pass what it
	// has: time in which it waits for others, and time in which it works, which is as much longer as the machine is slow.
	waiting = 1500 * time.Millisecond
	working = 500 * time.Millisecond
	// hanging is what it may need besides for each fault of etcd that it meets: the first try of a call waits for a second, and so does
	// one beside it. Further calls pass over the member that hangs. A later fault hangs another member, and the tries of a call become
	// longer.
	hanging = 2 * time.Second
	// turns is how many turns tell how slow the machine is: what is missing counts as fast.
	turns = 8
)

// grace is the time until which a node that is back at some time may not have come to itself.
func (x *index) grace(node string, back time.Duration) time.Duration {
	end := x.pace(back, waiting)
	for met := 0; ; end = x.pace(back, waiting+time.Duration(met)*hanging) {
		before := met
		if met = x.hangs(node, back, end); met == before {
			return end
		}
	}
}

// pace is when an agent that began then has waited so long, and done its work.
func (x *index) pace(began, waits time.Duration) time.Duration {
	end := began + waits + working
	slow, n := 0.0, 0
	for _, t := range x.Turns[firstAfter(x.Turns, began):] {
		if t.Begin > end {
			break
		}
		slow, n = slow+max(t.slowness(), 1), n+1
		mean := (slow + float64(max(0, turns-n))) / float64(max(n, turns))
		end = max(end, began+waits+time.Duration(mean*float64(working)))
	}
	return end
}

// firstAfter is the first turn that had not ended before some time.
func firstAfter(all []Turn, at time.Duration) int {
	i, _ := slices.BinarySearchFunc(all, at, func(t Turn, at time.Duration) int {
		if t.End < at {
			return -1
		}
		return 1
	})
	return i
}

// hangs counts the faults of etcd, or of a node's way to it, that were under way at some time between.
func (x *index) hangs(node string, from, to time.Duration) (met int) {
	for _, f := range x.Faults {
		if (f.Node == "" || f.Node == node && f.What == partitioned) && f.Begin <= to && f.End >= from {
			met++
		}
	}
	return met
}

// partitioned is what a node suffers that is cut off from members of etcd, from one or from all of them.
const partitioned = "partition"
