// Command bench measures whole ADDs and DELs of Berth beside those of the CNI project's plugins: the interface role
// beside bridge with host-local, the IPAM role beside host-local. It executes the programs as a runtime does, in one
// run, turn by turn, so that whatever else the machine does falls on all of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-ipam/berth/e2e/lab"
)

func main() {
	binaries := flag.String("bin", "bin", "directory of berth, berthd and berthctl")
	containers := flag.Int("n", 320, "containers of each program, alone and once more in parallel")
	parallel := flag.Int("parallel", 16, "callers at a time in the parallel part")
	out := flag.String("out", "", "file that gets the table too")
	flag.Parse()
	// What is built is built outside of the sandbox, which has no network.
	plugins, err := lab.Plugins()
	if err == nil {
		err = lab.Enter()
	}
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	table, err := bench(ctx, *binaries, plugins, *containers, *parallel)
	if err != nil {
		fail(err)
	}
	fmt.Print(table)
	if *out != "" {
		if err := os.WriteFile(*out, []byte(table), 0o644); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

const pool = `pools:
  - name: default
    cidrs: [10.42.0.0/16]
    gateways: [10.42.0.1]
  - name: routed
    mode: routed
    cidrs: [10.44.0.0/16]
`

func bench(ctx context.Context, binaries, plugins string, containers, parallel int) (_ string, err error) {
	if binaries, err = filepath.Abs(binaries); err != nil {
		return "", err
	}
	l, err := lab.New(ctx, lab.Options{Binaries: binaries, Alone: true})
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, l.Logs(15))
		}
		err = errors.Join(err, l.Close())
	}()
	node := l.Nodes[0]
	file := filepath.Join(node.RunDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(pool), 0o600); err != nil {
		return "", err
	}
	if _, err := node.Berthctl(ctx, "apply", "-f", file); err != nil {
		return "", err
	}
	r, err := newRunway(node, max(parallel, 1))
	if err != nil {
		return "", err
	}
	pairs := contenders(binaries, plugins, node.Socket())
	var parts []part
	for _, callers := range []int{1, parallel} {
		p, err := r.measure(ctx, pairs, callers, containers)
		if err != nil {
			return "", err
		}
		parts = append(parts, p)
	}
	return table(pairs, parts), nil
}
