// Command soak keeps three nodes busy for a long time, and fails where anything has grown at the end: memory,
// goroutines, descriptors, keys in etcd. It prints samples of them on the way. It ends with 0 when nothing has grown and
// every ADD and DEL was answered, 1 when not, and 130 when it is interrupted; it leaves nothing behind either way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// options say how long and how hard.
type options struct {
	binaries         string
	duration, warmup time.Duration
	rate             int // ADDs a second, and as many DELs
}

func main() {
	var o options
	flag.StringVar(&o.binaries, "bin", "", "directory of berth, berthd and berthctl; empty: build them from this tree")
	flag.DurationVar(&o.duration, "duration", time.Hour, "how long, after the warm-up")
	flag.DurationVar(&o.warmup, "warmup", 30*time.Second, "how long before what is there counts as the beginning")
	flag.IntVar(&o.rate, "rate", 20, "ADDs a second, and as many DELs")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "soak: %q is no flag: see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	if o.rate < 1 || o.duration <= 0 || o.warmup <= 0 {
		fmt.Fprintln(os.Stderr, "soak: -rate, -duration and -warmup: want each above 0")
		os.Exit(2)
	}
	// What is built is built outside of the sandbox, which has no network.
	var err error
	if o.binaries == "" {
		o.binaries, err = lab.Build()
	} else {
		o.binaries, err = filepath.Abs(o.binaries)
	}
	if err == nil {
		err = lab.Enter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err = soak(ctx, o)
	switch {
	case ctx.Err() != nil:
		fmt.Println("soak: interrupted; everything has been removed")
		os.Exit(130)
	case err != nil:
		fmt.Printf("soak: failed after %v at %d ADDs a second: %v\n", o.duration, o.rate, err)
		os.Exit(1)
	}
	fmt.Printf("soak: passed after %v at %d ADDs a second: nothing has grown\n", o.duration, o.rate)
}

const configuration = `pools:
  - name: default
    cidrs: [10.42.0.0/16]
    stateful: [10.42.0.0/24]
    gateways: [10.42.0.1]
    reuse: 5s
    cooldown: 5s
`

// soak makes the cluster, lets the load run and compares the end with the beginning. The lab is gone when it returns.
func soak(ctx context.Context, o options) (err error) {
	l, err := lab.New(ctx, lab.Options{
		Binaries: o.binaries, Nodes: 3, Gateways: []netip.Prefix{netip.MustParsePrefix("10.42.0.1/16")},
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			fmt.Printf("The logs end so:\n%s", l.Logs(15))
		}
		err = errors.Join(err, l.Close())
	}()
	if err := configure(ctx, l); err != nil {
		return err
	}
	load := newLoad(l, o.rate)
	if err := errors.Join(load.run(ctx, o.warmup), load.end(ctx)); err != nil {
		return err
	}
	began := time.Now()
	table := &table{out: os.Stdout, began: began}
	before, err := rest(ctx, l)
	if err != nil {
		return err
	}
	table.head(l)
	table.row("at rest", load, before)
	stop := every(max(o.duration/12, 10*time.Second), func() error {
		now, err := take(ctx, l)
		if err == nil {
			table.row("", load, now)
		}
		return err
	})
	failed := load.run(ctx, o.duration)
	if err := errors.Join(stop(), failed, load.end(ctx)); err != nil {
		return err
	}
	after, err := rest(ctx, l)
	if err != nil {
		return err
	}
	table.row("at rest", load, after)
	return errors.Join(load.verdict(), before.growth(after))
}

// configure applies the pool and waits until each node has it.
func configure(ctx context.Context, l *lab.Lab) error {
	file := filepath.Join(l.Nodes[0].RunDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return err
	}
	if _, err := l.Nodes[0].Berthctl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	return lab.Eventually(ctx, "each node has the pool", func() error {
		var errs []error
		for _, node := range l.Nodes {
			errs = append(errs, node.CNIStatus(ctx, lab.Berth()))
		}
		return errors.Join(errs...)
	})
}
