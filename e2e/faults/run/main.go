// Command run lets a cluster run under faults, and says whether it kept what Berth promises. It ends with 0 when no
// violation was found, 1 when one was, 2 when the run could not be made, and 130 when it was interrupted. With -build it is
// the other way round: it ends with 0 when the broken build was caught.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-ipam/berth/e2e/faults"
	"github.com/berth-ipam/berth/e2e/faults/broken"
	"github.com/berth-ipam/berth/e2e/lab"
)

func main() {
	os.Exit(run())
}

func run() int {
	r, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	case r.list:
		list(r)
		return 0
	}
	if r.Binaries, err = r.variant().Build(); err == nil {
		err = lab.Enter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r.Out = os.Stdout
	if f := r.Focus; f != nil {
		fmt.Printf("faults: the story of %s (seed %d), where it is missing that %s\n", f.Name, f.Seed, f.Missing)
	} else {
		fencing := map[bool]string{true: "strict", false: "evidence"}[r.Strict]
		families := map[bool]string{true: "IPv4 and IPv6", false: "IPv4"}[faults.SizeOf(r.Seed).Both]
		fmt.Printf("faults: seed %d, %v, %s mode, %s fencing, %s, kinds %v\n", r.Seed, r.Duration, r.Mode.Name, fencing, families, r.Kinds)
	}
	verdict, err := faults.Run(ctx, r.Options)
	switch {
	case ctx.Err() != nil:
		fmt.Println("faults: interrupted; everything has been removed")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	case r.build != "":
		return caught(r.Focus, verdict)
	case len(verdict.Violations) > 0:
		return 1
	}
	return 0
}

// variant is how the programs are built.
func (r request) variant() lab.Variant {
	for _, b := range broken.Builds {
		if b.Name == r.build {
			return lab.Variant{Name: b.Name, Overlay: b.Overlay}
		}
	}
	return lab.Variant{}
}

// list prints the kinds of faults, and where a seed is given what its plan breaks.
func list(r request) {
	for _, k := range faults.Kinds {
		fmt.Printf("%-11s %s\n", k.Kind, k.Does)
	}
	if r.Seed == 0 {
		return
	}
	for _, line := range faults.NewPlan(r.Seed, faults.Small, r.Duration, r.Kinds).Lines() {
		fmt.Println(line)
	}
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
