package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/broken"
)

// TestARunNoticesEachBrokenBuild builds this package without one guard, or one mend, after the other, and runs seeds until one breaks
// a promise.
func TestARunNoticesEachBrokenBuild(t *testing.T) {
	if os.Getenv("SIM_BROKEN") == "" {
		t.Skip("it compiles for each of them: make sim-broken does it")
	}
	tree := tree(t)
	for _, b := range slices.Concat(broken.Builds, mends(t)) {
		if only := os.Getenv("SIM_BROKEN"); b.Routed || only != "all" && only != b.Name {
			continue // no plan of a simulated run has a routed pool
		}
		t.Run(b.Name, func(t *testing.T) {
			dir := t.TempDir()
			overlay, err := b.Overlay(tree, dir)
			if err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(dir, "sim.test")
			build := exec.Command("go", "test", "-c", "-trimpath", "-overlay", overlay, "-o", program, ".")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if output, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			caught(t, program)
		})
	}
}

// caught runs seeds in both modes until one breaks a promise.
func caught(t *testing.T, program string) {
	var used time.Duration // of one core
	for seed := 1; used < 5*time.Minute; seed++ {
		for _, strict := range []string{"no", "yes"} {
			run := exec.Command(program, "-test.run", "^TestARunWithFaultsBreaksNoPromise$", "-test.v", "-test.timeout", "30m")
			run.Env = append(os.Environ(), fmt.Sprint("SIM_SEED=", seed), "SIM_STRICT="+strict, "GOMAXPROCS=1",
				fmt.Sprint("SIM_STEPS=", number("SIM_STEPS", 2000)), fmt.Sprint("SIM_TRIES=", number("SIM_TRIES", 0)))
			output, err := run.CombinedOutput()
			used += run.ProcessState.UserTime() + run.ProcessState.SystemTime()
			if err == nil {
				continue
			}
			_, told, _ := strings.Cut(string(output), "VIOLATION")
			if told == "" { // a panic
				told = string(output)
			}
			t.Logf("seed %d, strict: %s, after %s of CPU time: %.4000s", seed, strict, used.Round(time.Second), told)
			return
		}
	}
	t.Errorf("no seed breaks a promise in %s of CPU time", used.Round(time.Second))
}
