package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Size is how much a generated plan does.
type Size struct {
	Nodes, Members, Replicas int
	Steps                    int           // of runtimes and operators
	Pause                    time.Duration // between two of them, on average
	Faults                   time.Duration // between two faults, on average; 0: none
}

// weight is how often a deed is done beside the others.
type weight struct {
	deed  Deed
	times int
}

var usual = []weight{
	{Add, 400}, {Delete, 120}, {Move, 160}, {Seize, 120}, {Again, 60}, {Renew, 20}, {LateDel, 20}, {End, 40}, {Check, 30},
	{Collect, 20}, {GiveUp, 40}, {Status, 5}, {Strange, 5}, {Set, 20}, {Each, 10}, {DelSet, 15}, {Exclude, 5}, {Include, 5},
	{MTU, 5}, {Gateway, 10}, {Release, 10}, {AddPool, 4}, {Drain, 2}, {Retire, 2}, {Range, 5}, {Fencing, 2}, {Rights, 2},
	{Rollback, 3}, {Reserve, 10}, {Fix, 3}, {Advice, 3}, {Repeat, 4}, {Stale, 15}, {Once, 20}, {Version, 5}, {DNS, 3},
	{Mangle, 8},
}

var dangers = []weight{
	{Kill, 40}, {Stop, 10}, {Boot, 10}, {Pause, 15}, {Cut, 20}, {CutBack, 15}, {Lossy, 20}, {Slow, 10}, {Fill, 10},
	{Clear, 6}, {Outage, 8}, {Leader, 5}, {Alarm, 5}, {Defrag, 3}, {Hang, 10}, {Deny, 8}, {DenyPut, 8},
	{Revoke, 15}, {BreakDisk, 8}, {BreakCall, 15}, {News, 10}, {Sleep, 6}, {Clock, 6}, {Clone, 4},
	{Flush, 4}, {Damage, 15}, {Erase, 6}, {Remove, 4}, {Backup, 5}, {Restore, 3},
	{Compact, 5},
}

// absences are what keep a node from its rights.
var absences = []Deed{Cut, CutBack, Pause, Kill, Revoke, Deny, Hang}

// points are where a process may be killed.
var points = []string{
	"", "etcd-before-txn", "etcd-after-txn", "disk-write", "kernel-before-Attach", "kernel-after-Attach", "kernel-before-Join",
	"kernel-after-Join", "kernel-before-Detach", "kernel-after-Detach",
}

// SizeOf is the size of a seed's run: some fill the pool, some do not.
func SizeOf(seed uint64, nodes, steps int) Size {
	r := rand.New(rand.NewPCG(seed, 3))
	z := Size{
		Nodes: nodes, Members: 4 + r.IntN(16), Replicas: 20 + r.IntN(140), Steps: steps, Pause: time.Duration(40+r.IntN(160)) * time.Millisecond,
		Faults: time.Duration(1000+r.IntN(8000)) * time.Millisecond,
	}
	if r.IntN(4) == 0 { // little happens
		z.Pause, z.Steps = 15*z.Pause, z.Steps/5
	}
	return z
}

// Generate makes the plan of a seed.
func Generate(seed uint64, z Size) Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	var plan Plan
	var at time.Duration
	for range z.Steps {
		at += time.Duration(r.Int64N(int64(2*z.Pause))) + 1
		s := Step{At: at, Do: pick(r, usual), Node: fmt.Sprint("n", 1+r.IntN(z.Nodes))}
		s.Place = somewhere(r, z)
		switch s.Do {
		case Set, Each, DelSet:
			for range 1 + r.IntN(6) {
				s.Place += "," + somewhere(r, z)
			}
			s.Choice = r.IntN(3 * len(flaws))
		case GiveUp:
			s.For = time.Duration(r.Int64N(int64(30 * time.Millisecond)))
		case Stale:
			s.For, s.Choice = time.Duration(r.Int64N(int64(time.Second))), r.IntN(2)
		case Once:
			s.Place, s.For = fmt.Sprint("job-", len(plan)), time.Duration(r.Int64N(int64(time.Second)))
		case Exclude, MTU, LateDel, Gateway, Range, Fencing, Rights, Rollback, DNS:
			s.Choice = r.IntN(1000)
		}
		plan = append(plan, s)
	}
	if z.Faults > 0 {
		plan = append(plan, faults(seed, z, at)...)
	}
	slices.SortStableFunc(plan, byTime)
	return plan
}

// somewhere is a place.
func somewhere(r *rand.Rand, z Size) string {
	if r.IntN(12) == 0 {
		return fmt.Sprint(extraApps[r.IntN(2)], []string{"-", "/"}[r.IntN(2)], r.IntN(12))
	}
	n := r.IntN(z.Members + z.Replicas)
	member, replica := "db-", "web/"
	if n%5 == 4 {
		member, replica = longApp+"-", longApp+"/"
	}
	if n < z.Members {
		return fmt.Sprint(member, n)
	}
	return fmt.Sprint(replica, n-z.Members)
}

// faults are those until the end.
func faults(seed uint64, z Size, end time.Duration) (plan Plan) {
	r := rand.New(rand.NewPCG(seed, 2))
	for at := time.Duration(0); ; {
		at += time.Duration(r.Int64N(int64(2*z.Faults))) + 1
		if at >= end {
			return plan
		}
		s := Step{At: at, Do: pick(r, dangers), Node: fmt.Sprint("n", 1+r.IntN(z.Nodes))}
		s.For = time.Duration(r.Int64N(int64(4 * time.Second)))
		switch r.IntN(6) {
		case 0: // away for about as long as the longest right, or until others have taken what it held
			s.Do, s.For = absences[r.IntN(len(absences))], addressLease+time.Duration(r.Int64N(int64(addressLease/2)))
		case 1: // the same for the shortest
			s.For = session + time.Duration(r.Int64N(int64(2*session)))
		}
		if s.Do == Revoke { // of a node that does not hear of it
			plan = append(plan, Step{At: s.At - 1, Do: Cut, Node: s.Node, For: s.For})
		}
		if s.Do == Remove { // one that has gone, and comes back
			away := []Deed{Cut, Boot, Pause}[r.IntN(3)]
			plan = append(plan, Step{At: s.At - 1, Do: away, Node: s.Node, For: addressLease + time.Duration(r.Int64N(int64(addressLease)))})
			s.At += 2 * session
		}
		s.Choice = r.IntN(1 << 20)
		if s.Do == Clear && s.Choice%2 == 0 { // while no agent runs, who would write it anew
			plan = append(plan, Step{At: s.At - 1, Do: Kill, Node: s.Node, For: time.Duration(5+s.Choice%1000) * time.Millisecond})
		}
		if s.Do == Kill {
			s.Point, s.Nth = points[r.IntN(len(points))], 1+r.IntN(3)
		}
		if s.Do == Damage && s.Choice%4 == 0 { // nobody sees it for a while
			s.For += time.Duration(r.Int64N(int64(addressLease)))
		}
		plan = append(plan, s)
		if r.IntN(4) == 0 {
			plan = append(plan, company(r, s)...)
		}
	}
}

// company is what befalls the node of a fault besides, when that begins or when it ends.
func company(r *rand.Rand, s Step) (plan Plan) {
	others := []Deed{Fill, Kill, Clear, Lossy, News, Damage, Erase, Repeat, Repeat}
	for range 1 + r.IntN(3) {
		with := Step{At: s.At + time.Duration(r.Int64N(int64(2*session))), Do: others[r.IntN(len(others))], Node: s.Node, Choice: r.IntN(1 << 20)}
		if r.IntN(2) == 0 {
			with.At += s.For
		}
		if with.For = time.Duration(r.Int64N(int64(3 * session))); with.Do == Kill {
			with.For /= 4
		}
		plan = append(plan, with)
	}
	return plan
}

func pick(r *rand.Rand, from []weight) Deed {
	total := 0
	for _, w := range from {
		total += w.times
	}
	n := r.IntN(total)
	for _, w := range from {
		if n -= w.times; n < 0 {
			return w.deed
		}
	}
	return from[0].deed
}
