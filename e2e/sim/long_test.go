package sim

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/sim/chance"
)

// TestSimulate is `make sim`: runs one after the other, of seeds that come from one, in both modes in turns.
func TestSimulate(t *testing.T) {
	if os.Getenv("SIM_OPS") == "" && os.Getenv("SIM_FOR") == "" {
		t.Skip("make sim does it, for as many operations or as long as it is told")
	}
	seed, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil || seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:])
		seed = binary.LittleEndian.Uint64(b[:]) >> 32
	}
	within, err := time.ParseDuration(os.Getenv("SIM_FOR"))
	if err != nil {
		within = 24 * time.Hour
	}
	nodes, wanted, operations := number("SIM_NODES", 3), number("SIM_OPS", 1<<40), 0
	t.Logf("seed %d, %d nodes", seed, nodes)
	counts := map[string]int{}
	var virtual time.Duration
	began, used, seeds := time.Now(), cpu(), chance.New(seed)
	first := number("SIM_RUN", 0) // which of the seed's runs is the first
	runs := first
	for ; operations < wanted && time.Since(began) < within; runs++ {
		o := Options{Seed: seeds.Seed(chance.Name("run", runs)), Nodes: nodes, Strict: runs%2 == 1}
		o.Dual = o.Seed%3 == 0
		plan := Generate(o.Seed, SizeOf(o.Seed, nodes, number("SIM_STEPS", 4000)))
		r := simulate(t, o, plan)
		operations, virtual = operations+r.Operations, virtual+r.Virtual
		for what, n := range r.Counts {
			counts[what] += n
		}
		if len(r.Violations) > 0 || t.Failed() {
			tell(t, o, plan, r, number("SIM_TRIES", 150))
			break
		}
	}
	used = cpu() - used
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%7d %s", counts[what], what)
	}
	t.Logf("seed %d: %d operations in runs %d to %d, %.0f a CPU second; %s of virtual time, %.0f times real time", seed, operations,
		first, runs, float64(operations)/used.Seconds(), virtual.Round(time.Second), virtual.Seconds()/time.Since(began).Seconds())
}

// tell shrinks the plan of a run that broke a promise by so many tries, and prints the story.
func tell(t *testing.T, o Options, plan Plan, r Result, tries int) {
	for _, v := range r.Violations {
		t.Errorf("VIOLATION %s", v)
	}
	if len(r.Violations) == 0 || tries == 0 {
		return
	}
	v := r.Violations[0]
	fails := func(p Plan) bool {
		return slices.ContainsFunc(simulate(t, o, p).Violations, func(other Violation) bool { return other.Rule == v.Rule })
	}
	short := slices.DeleteFunc(slices.Clone(plan), func(s Step) bool { return s.At > v.At }) // the run has ended then
	if about := short.about(v.What); fails(about) {
		short = about
	}
	short = Shrink(short, tries, fails)
	t.Logf("the story of %d steps, of %d:\n%s", len(short), len(plan), Story{r.Violations[0].What, o, short}.Format())
}
