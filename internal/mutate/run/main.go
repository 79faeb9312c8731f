// Command run is `make mutants`: see package mutate.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/internal/mutate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	passed, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}

func run(ctx context.Context) (passed bool, err error) {
	o := mutate.Options{Root: ".", Log: os.Stderr}
	places := flag.String("places", "", "only mutants whose FILE:LINE matches this regular expression")
	tests := flag.String("tests", "", "only tests whose name matches this regular expression")
	rows := flag.String("rows", "", "write the survivors to this file, as rows of equivalent.txt")
	least := flag.Float64("score", 0, "fail where a package has a lower score, in percent")
	flag.StringVar(&o.Changed, "changed", "", "only lines that are not as in this commit")
	flag.IntVar(&o.Jobs, "jobs", runtime.NumCPU(), "runs at once")
	flag.DurationVar(&o.Budget, "budget", time.Minute, "for the tests of one mutant, by what they take without it")
	flag.DurationVar(&o.Within, "within", 0, "for everything; 0 is no limit")
	flag.Parse()
	if o.Packages = flag.Args(); len(o.Packages) == 0 {
		return false, fmt.Errorf("no packages: name those to mutate, as for go test")
	}
	if o.Root, err = filepath.Abs("."); err != nil {
		return false, err
	}
	for pattern, to := range map[*string]**regexp.Regexp{places: &o.Places, tests: &o.Tests} {
		if *pattern == "" {
			continue
		}
		if *to, err = regexp.Compile(*pattern); err != nil {
			return false, err
		}
	}
	report, err := mutate.Run(ctx, o)
	if err != nil {
		return false, err
	}
	report.Write(os.Stdout)
	if *rows != "" {
		var text strings.Builder
		report.WriteRows(&text)
		if err := os.WriteFile(*rows, []byte(text.String()), 0o600); err != nil {
			return false, err
		}
	}
	passed = len(report.Stale) == 0
	for _, s := range report.Scores() {
		passed = passed && s.Percent() >= *least
	}
	return passed, nil
}
