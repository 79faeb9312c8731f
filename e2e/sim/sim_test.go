package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/berth-ipam/berth/e2e/sim/order"
)

// number is a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// tmpfs is a directory in memory, if the machine has one.
func tmpfs(t testing.TB) string {
	t.Helper()
	within := "/dev/shm"
	if _, err := os.Stat(within); err != nil {
		within = ""
	}
	dir, err := os.MkdirTemp(within, "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// stuck is how long a run may take on the machine's own clock. One that takes longer stands still: virtual time goes on only while
// every goroutine waits for something of the bubble.
const stuck = 10 * time.Minute

// simulate carries a plan out in a bubble of its own.
func simulate(t *testing.T, o Options, plan Plan) (r Result) {
	t.Helper()
	o.Dir = tmpfs(t)
	defer os.RemoveAll(o.Dir)
	if os.Getenv("SIM_DEBUG") != "" {
		o.Debug = func(line string) { fmt.Println(line) }
		o.Log = zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(os.Stdout),
			zapcore.DebugLevel))
	}
	watchdog := time.AfterFunc(stuck, func() { panic(fmt.Sprintf("the run of seed %d stands still", o.Seed)) })
	defer watchdog.Stop()
	order.By(o.Seed)
	cryptotest.SetGlobalRandom(t, o.Seed)
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = Run(o, plan); err != nil {
			t.Errorf("seed %d: %v", o.Seed, err)
		}
	})
	return r
}

func TestARunWithFaultsBreaksNoPromise(t *testing.T) {
	seed := uint64(number("SIM_SEED", 1))
	for _, strict := range []bool{false, true} {
		if only := os.Getenv("SIM_STRICT"); only != "" && (only == "yes") != strict {
			continue
		}
		o := Options{Seed: seed, Nodes: number("SIM_NODES", 3), Strict: strict, Dual: seed%3 == 0}
		plan := Generate(seed, SizeOf(seed, o.Nodes, number("SIM_STEPS", 500)))
		r := simulate(t, o, plan)
		t.Logf("strict %v: %d operations, %d events, virtual %s, trace %s\n%v", strict, r.Operations, r.Events, r.Virtual, r.Trace, r.Counts)
		tell(t, o, plan, r, number("SIM_TRIES", 0))
	}
}

// TestStories replays what once broke a promise, and what must never.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no stories", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ParseStory(text)
			if err != nil {
				t.Fatal(err)
			}
			r := simulate(t, s.Options, s.Plan)
			for _, v := range r.Violations {
				t.Errorf("%s: %s", s.Text, v)
			}
			for what := range r.Counts {
				if strings.HasSuffix(what, ": skipped") || strings.HasSuffix(what, ": failed") {
					t.Errorf("%s: a step was not carried out: %s", s.Text, what)
				}
			}
		})
	}
}
