package mutate

import (
	"context"
	_ "embed" // equivalent.txt
	"fmt"
	"go/ast"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed equivalent.txt
var judged string

// Options say what is mutated, and how long it may take.
type Options struct {
	Root     string         // of the tree
	Packages []string       // patterns of the go command
	Changed  string         // a commit: only lines that are not as in it; empty: all lines
	Places   *regexp.Regexp // only mutants whose FILE:LINE matches; nil: all
	Tests    *regexp.Regexp // only tests whose name matches; nil: all
	Jobs     int            // runs at once
	Budget   time.Duration  // for the tests of one mutant, by what they take without it
	Within   time.Duration  // for everything; what is not tried by then is said; 0: no limit
	Log      io.Writer      // what is going on; several goroutines write to it
}

// also are the packages whose tests are asked about a package after its own: by a folder, and all below it.
var also = []struct {
	folder string
	tests  []string
}{
	{"agent", []string{"agent"}},
	{"lease/record", []string{"lease/reservation", "lease/block", "lease/session", "lease/config", "lease/rollout", "lease/admin",
		"lease/doctor"}},
	{"lease/session", []string{"lease/block", "lease/admin"}},
	{"lease/block", []string{"lease/reservation"}},
	{"netops/fence", []string{"netops"}},
}

// An Outcome is what became of a mutant.
type Outcome struct {
	Mutant
	Killed, Late bool     // Late: by taking longer than it may
	By           string   // the test that killed it, where one says so
	Equivalent   string   // the reason why it was not tried
	Untried      bool     // there was no time
	Survived     []string // the tests that it survived
	Reached      int      // how many tests reach it with a value that it would change
}

// A campaign is one use of the tool.
type campaign struct {
	Options
	dir      string
	file     string        // the overlay
	slack    time.Duration // that a run may take besides the multiple of what it takes without a mutant
	mutants  []Mutant
	packages []string
	outcomes []*Outcome // of the chosen ones
	binaries map[string]*binary
	failing  []string // tests that fail without a mutant
	until    time.Time
}

// Run tries the mutants. It fails where a row of equivalent.txt is stale, too.
func Run(ctx context.Context, o Options) (*Report, error) {
	known, err := parseEquivalents(judged)
	if err != nil {
		return nil, err
	}
	return run(ctx, o, known, 10*time.Second)
}

func run(ctx context.Context, o Options, known equivalents, slack time.Duration) (*Report, error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, fmt.Errorf("mutate: %w", err)
	}
	defer os.RemoveAll(dir)
	c := &campaign{Options: o, dir: dir, slack: slack, binaries: map[string]*binary{}}
	if o.Within > 0 {
		c.until = time.Now().Add(o.Within)
	}
	if err := c.choose(known); err != nil {
		return nil, err
	}
	for stage := range 2 {
		for _, pkg := range c.packages {
			if err := c.try(ctx, pkg, stage); err != nil {
				return nil, err
			}
		}
	}
	report := &Report{Outcomes: c.outcomes, Failing: c.failing}
	for _, r := range known.stale(c.packages, c.mutants) {
		report.Stale = append(report.Stale, fmt.Sprintf("equivalent.txt:%d: %s: %s: %s: %s", r.line, r.file, r.function, r.kind, r.detail))
	}
	return report, nil
}

// choose finds the mutants and those of them that are wanted.
func (c *campaign) choose(known equivalents) error {
	var changed lines
	if c.Changed != "" {
		var err error
		if changed, err = changedSince(c.Root, c.Changed); err != nil {
			return err
		}
	}
	sources, err := load(c.Root, c.Packages)
	if err != nil {
		return err
	}
	if c.Changed != "" {
		sources = slices.DeleteFunc(sources, func(s *source) bool {
			return !slices.ContainsFunc(s.asts, func(f *ast.File) bool { return len(changed[s.inTree(f)]) > 0 })
		})
	}
	if c.file, c.mutants, err = overlay(c.dir, sources); err != nil {
		return err
	}
	for _, s := range sources {
		c.packages = append(c.packages, s.name)
	}
	for _, m := range c.mutants {
		if c.Changed != "" && !changed.has(m.File, m.Line) || c.Places != nil && !c.Places.MatchString(m.Where()) {
			continue
		}
		c.outcomes = append(c.outcomes, &Outcome{Mutant: m, Equivalent: known.reasons[m.key()]})
	}
	fmt.Fprintf(c.Log, "%d packages with %d mutants, %d of them chosen\n", len(c.packages), len(c.mutants), len(c.outcomes))
	return nil
}

// try has the tests of the package itself, or those of others in the second stage, look at its mutants that are left.
func (c *campaign) try(ctx context.Context, pkg string, stage int) error {
	tests := []string{pkg}
	if stage == 1 {
		tests = nil
		for _, row := range also {
			if pkg == row.folder || strings.HasPrefix(pkg, row.folder+"/") {
				tests = append(tests, row.tests...)
			}
		}
	}
	for _, t := range tests {
		if stage == 1 && t == pkg {
			continue
		}
		if left := c.left(pkg); len(left) > 0 {
			if err := c.tested(ctx, t, left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *campaign) left(pkg string) (left []*Outcome) {
	for _, o := range c.outcomes {
		if o.Package == pkg && !o.Killed && o.Equivalent == "" && !o.Untried {
			left = append(left, o)
		}
	}
	return left
}

// tested tries mutants with the tests of one package.
func (c *campaign) tested(ctx context.Context, by string, left []*Outcome) error {
	b, err := c.binary(ctx, by)
	if err != nil || b == nil {
		return err
	}
	began := time.Now()
	var tries []func()
	for _, o := range left {
		if tests := b.reaching(o.Number); len(tests) > 0 {
			tries = append(tries, func() { c.attempt(ctx, b, tests, o) })
		}
	}
	c.atOnce(tries)
	killed := 0
	for _, o := range left {
		if o.Killed {
			killed++
		} else if b.cut {
			o.Untried = true // a test of which nothing is known may kill it
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mutate: %w", err) // what was under way has failed by that
	}
	fmt.Fprintf(c.Log, "%s: %d mutants tried by its tests, %d killed, %s\n", by, len(tries), killed, time.Since(began).Round(time.Second))
	return nil
}

func (c *campaign) late() bool { return !c.until.IsZero() && time.Now().After(c.until) }

// atOnce does things, Jobs of them at a time.
func (c *campaign) atOnce(things []func()) {
	queue := make(chan func())
	done := make(chan struct{})
	for range c.Jobs {
		go func() {
			for f := range queue {
				f()
			}
			done <- struct{}{}
		}()
	}
	for _, f := range things {
		queue <- f
	}
	close(queue)
	for range c.Jobs {
		<-done
	}
}
