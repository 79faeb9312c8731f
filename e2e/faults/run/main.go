// Command run lets a cluster run under faults, and says whether it kept what Berth promises. It ends with 0 when no
// violation was found, 1 when one was, and 2 when the run could not be made. With -build it is the other way round: it
// ends with 0 when the broken build was caught.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/e2e/faults"
	"github.com/berth-ipam/berth/e2e/lab"
)

func main() {
	os.Exit(run())
}

func run() int {
	seed := flag.Uint64("seed", 0, "`number` that the plan is made from; 0: by the clock")
	duration := flag.Duration("duration", 2*time.Minute, "how long things are broken")
	fencing := flag.String("fencing", "evidence", "`mode`: strict or evidence")
	without := flag.String("without", "", "`kinds` of faults to leave out, between commas")
	build := flag.String("build", "", "`tag` of a broken build: its focused run, which is to be caught")
	profile := flag.String("profile", "", "`tag` of a broken build whose focused run the ordinary build is to stand")
	list := flag.Bool("list", false, "print the kinds of faults, or with -seed the plan, and end")
	flag.Parse()
	kinds, err := faults.Choose(*without)
	var focus *faults.Profile
	if name := cmp.Or(*build, *profile); err == nil && name != "" {
		focus, err = faults.Named(name)
	}
	if err == nil && *fencing != "strict" && *fencing != "evidence" {
		err = fmt.Errorf("faults: -fencing %q: want strict or evidence", *fencing)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1e6
	}
	if *list {
		for _, k := range faults.Kinds {
			fmt.Printf("%-11s %s\n", k.Kind, k.Does)
		}
		for _, line := range faults.NewPlan(*seed, faults.Small, *duration, kinds).Lines() {
			fmt.Println(line)
		}
		return 0
	}
	var tags []string
	if *build != "" {
		tags = append(tags, *build)
	}
	binaries, err := lab.Build(tags...)
	if err == nil {
		err = lab.Enter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	options := faults.Options{Binaries: binaries, Strict: *fencing == "strict", Seed: *seed, Duration: *duration, Kinds: kinds, Focus: focus, Out: os.Stdout}
	if focus != nil {
		options.Strict = focus.Strict
		fmt.Printf("faults: the story of %s (seed %d), where it is missing that %s\n", focus.Name, focus.Seed, focus.Missing)
	} else {
		fmt.Printf("faults: seed %d, %v, %s fencing, kinds %v\n", *seed, *duration, *fencing, kinds)
	}
	verdict, err := faults.Run(ctx, options)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	case *build != "":
		return caught(focus, verdict)
	case len(verdict.Violations) > 0:
		return 1
	}
	return 0
}

// caught says whether a broken build was found out, which is what is wanted of it.
func caught(focus *faults.Profile, verdict faults.Verdict) int {
	v, ok := focus.Caught(verdict)
	if !ok {
		fmt.Printf("%s was NOT caught: no violation of %v was found\n", focus.Name, focus.Finds)
		return 1
	}
	fmt.Printf("%s was caught: %v at %.1f s: %s\n", focus.Name, v.Rule, v.At.Seconds(), v.What)
	return 0
}
