package sim

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/berth-ipam/berth/e2e/sim/order"
)

// TestRunsOfOneSeedAreTheSame is `make sim-exact`: each seed runs in processes of their own, with one processor and with two.
func TestRunsOfOneSeedAreTheSame(t *testing.T) {
	seeds := number("SIM_EXACT", 0)
	switch {
	case seeds == 0:
		t.Skip("it takes a program with an ordered runtime: make sim-exact does it")
	case !order.Exact:
		t.Skip("this program's runtime is not ordered: see package order")
	}
	for i := range seeds {
		seed := number("SIM_SEED", 1) + i
		one, two := traceOf(t, seed, 1), traceOf(t, seed, 2)
		if one != two {
			t.Errorf("seed %d: with one processor %s\nwith two %s", seed, one, two)
		}
	}
}

var traceLine = regexp.MustCompile(`strict (true|false): .* trace [0-9a-f]+`)

func traceOf(t *testing.T, seed, processors int) string {
	t.Helper()
	run := exec.Command(os.Args[0], "-test.run", "^TestARunWithFaultsBreaksNoPromise$", "-test.v", "-test.timeout", "10m")
	run.Env = append(os.Environ(), fmt.Sprint("SIM_SEED=", seed), fmt.Sprint("GOMAXPROCS=", processors), "SIM_EXACT=")
	output, _ := run.CombinedOutput() // a promise that is broken is told elsewhere
	lines := traceLine.FindAllString(string(output), -1)
	if len(lines) == 0 {
		t.Fatalf("seed %d ends without a trace: %s", seed, output)
	}
	return fmt.Sprint(lines)
}
