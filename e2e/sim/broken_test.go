package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
		if only := os.Getenv("SIM_BROKEN"); only != "all" && only != b.Name {
			continue
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
	for seed := range number("SIM_SEEDS", 20) {
		for _, strict := range []string{"no", "yes"} {
			began := cpu()
			run := exec.Command(program, "-test.run", "^TestARunWithFaultsBreaksNoPromise$", "-test.v", "-test.timeout", "5m")
			run.Env = append(os.Environ(), fmt.Sprint("SIM_SEED=", seed+1), "SIM_STRICT="+strict,
				fmt.Sprint("SIM_STEPS=", number("SIM_STEPS", 2000)))
			output, err := run.CombinedOutput()
			if err == nil {
				continue
			}
			for line := range strings.Lines(string(output)) {
				if strings.Contains(line, "sim_test.go") || strings.Contains(line, "panic") {
					t.Logf("seed %d, strict: %s, after %s of this test: %.400s", seed+1, strict, cpu()-began, line)
				}
			}
			return
		}
	}
	t.Error("no seed breaks a promise")
}
