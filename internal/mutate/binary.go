package mutate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-ipam/berth/internal/mutate/mutant"
)

// A binary is the tests of one package, with all the mutants in what they test.
type binary struct {
	name string // of the package, in the tree
	path string
	dir  string // the package's

	flags    []string // in every run
	recorded []test
	cut      bool // there was no time to record all
}

// A test is one of a binary's, as it ran without a mutant.
type test struct {
	name    string
	reached []bool // by the mutants' numbers: whether it would have made a difference
	took    time.Duration
	fails   bool
}

// reaching are the tests for which a mutant makes a difference.
func (b *binary) reaching(number int) (tests []test) {
	for _, t := range b.recorded {
		if number < len(t.reached) && t.reached[number] && !t.fails {
			tests = append(tests, t)
		}
	}
	return tests
}

// build compiles a package's tests with the changed files. A package without tests is nil.
func build(ctx context.Context, root, overlay, dir, pkg string) (*binary, error) {
	b := &binary{name: pkg, path: filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".test"), dir: filepath.Join(root, pkg)}
	command := exec.CommandContext(ctx, "go", "test", "-c", "-tags", tags, "-overlay", overlay, "-o", b.path, "./"+pkg)
	command.Dir, command.Env = root, plain()
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mutate: compile the tests of %s: %w: %s", pkg, err, output)
	}
	if _, err := os.Stat(b.path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, nil
}

// tests are the names of all that runs without being asked for.
func (b *binary) tests(ctx context.Context) ([]string, error) {
	// A property draws the same each time, and leaves no file in the tree where it fails.
	b.flags = []string{"-rapid.seed", "1", "-rapid.nofailfile"}
	ran := b.run(ctx, "", time.Minute, "-test.list", ".*")
	if !ran.passed {
		b.flags = nil
		ran = b.run(ctx, "", time.Minute, "-test.list", ".*")
	}
	if !ran.passed {
		return nil, fmt.Errorf("mutate: list the tests of %s: %s", b.name, ran.output)
	}
	var names []string
	for line := range strings.Lines(string(ran.output)) {
		if line = strings.TrimSpace(line); regexp.MustCompile(`^(Test|Fuzz|Example)`).MatchString(line) {
			names = append(names, line)
		}
	}
	return names, nil
}

// A result is what became of a run.
type result struct {
	passed, late bool
	took         time.Duration
	output       []byte
}

// run runs the binary with one more word in its environment. It has a place of its own for temporary files: who is killed, or
// panics, leaves them behind.
func (b *binary) run(ctx context.Context, environment string, limit time.Duration, arguments ...string) result {
	files, err := os.MkdirTemp("", "m") // short, for the sockets in it
	if err != nil {
		return result{output: []byte(err.Error())}
	}
	defer os.RemoveAll(files)
	// The binary's own limit comes first, and says which test it was.
	ctx, cancel := context.WithTimeout(ctx, limit+grace)
	defer cancel()
	command := exec.CommandContext(ctx, b.path, slices.Concat(arguments, b.flags, []string{"-test.timeout", limit.String()})...)
	command.Dir, command.WaitDelay = b.dir, grace
	command.Env = append(os.Environ(), environment, "TMPDIR="+files)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	began := time.Now()
	err = command.Run()
	late := ctx.Err() != nil || bytes.Contains(output.Bytes(), []byte("panic: test timed out after"))
	return result{passed: err == nil, late: err != nil && late, took: time.Since(began), output: output.Bytes()}
}

// grace is how much longer than its own limit a run may take to say which test exceeded it.
const grace = 10 * time.Second

// only is the pattern of -test.run for these tests.
func only(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// record runs one test without a mutant.
func (b *binary) record(ctx context.Context, dir, name string, mutants int) (test, error) {
	file, err := os.CreateTemp(dir, "reached")
	if err != nil {
		return test{}, fmt.Errorf("mutate: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := file.Truncate(int64(mutants + 1)); err != nil {
		return test{}, fmt.Errorf("mutate: %w", err)
	}
	ran := b.run(ctx, mutant.Reached+"="+file.Name(), patience, "-test.run", only([]string{name}))
	if !ran.passed { // it may have been the machine
		ran = b.run(ctx, mutant.Reached+"="+file.Name(), patience, "-test.run", only([]string{name}))
	}
	marks, err := os.ReadFile(file.Name())
	if err != nil {
		return test{}, fmt.Errorf("mutate: %w", err)
	}
	t := test{name: name, reached: make([]bool, len(marks)), took: ran.took, fails: !ran.passed}
	for i := range marks {
		t.reached[i] = marks[i] != 0
	}
	return t, nil
}

// patience is for a test without a mutant.
const patience = 10 * time.Minute

// with runs tests with a mutant.
func (b *binary) with(ctx context.Context, m Mutant, tests []string, limit time.Duration) result {
	return b.run(ctx, mutant.Number+"="+strconv.Itoa(m.Number), limit, "-test.run", only(tests), "-test.failfast")
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// killer is the test that failed, as far as the output says so.
func (r result) killer() string {
	if found := failed.FindSubmatch(r.output); found != nil {
		return string(found[1])
	}
	return ""
}
