package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/faults"
)

// A request is what the command line asks for.
type request struct {
	faults.Options
	build string // name of the broken build that is to be caught; empty: the ordinary one
	list  bool
}

// parse reads the command line. What it makes no sense of it refuses, before anything is built.
func parse(args []string, help io.Writer) (r request, err error) {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is for the caller to tell
	seed := flags.Uint64("seed", 0, "`number` that the plan is made from; 0: by the clock")
	duration := flags.Duration("duration", 2*time.Minute, "how long things are broken")
	mode := flags.String("mode", faults.Modes[0].Name, "`mode` of the pool: flat or routed")
	fencing := flags.String("fencing", "evidence", "`mode`: strict or evidence")
	without := flags.String("without", "", "`kinds` of faults to leave out, between commas")
	build := flags.String("build", "", "`name` of a broken build: its focused run, which is to be caught")
	profile := flags.String("profile", "", "`name` of a broken build whose focused run the ordinary build is to stand")
	list := flags.Bool("list", false, "print the kinds of faults, with -seed the plan of them, too, and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(help)
		flags.PrintDefaults()
		return r, err
	} else if err != nil {
		return r, fmt.Errorf("faults: %w: see -help", err)
	}
	if *seed == 0 && !*list {
		*seed = uint64(time.Now().UnixNano()) % 1e6
	}
	r = request{build: *build, list: *list, Options: faults.Options{Strict: *fencing == "strict", Seed: *seed, Duration: *duration}}
	if r.Kinds, err = faults.Choose(*without); err != nil {
		return r, err
	}
	if r.Mode, err = faults.ModeNamed(*mode); err != nil {
		return r, err
	}
	if flags.NArg() > 0 {
		return r, fmt.Errorf("faults: %q is no flag: see -help", strings.Join(flags.Args(), " "))
	}
	if *fencing != "strict" && *fencing != "evidence" {
		return r, fmt.Errorf("faults: -fencing %q: want strict or evidence", *fencing)
	}
	if *duration <= 0 {
		return r, fmt.Errorf("faults: -duration %v: want more than none", *duration)
	}
	if *build != "" && *profile != "" {
		return r, errors.New("faults: -build and -profile: want one of them")
	}
	name := cmp.Or(*build, *profile)
	if name == "" {
		return r, nil
	}
	if r.Focus, err = faults.Named(name); err != nil {
		return r, err
	}
	r.Strict = r.Focus.Strict
	if r.Mode, err = faults.ModeNamed(cmp.Or(r.Focus.Mode, faults.Modes[0].Name)); err != nil {
		return r, err
	}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "build" && f.Name != "profile" {
			err = fmt.Errorf("faults: -%s: the story of %s has its own", f.Name, name)
		}
	})
	return r, err
}
