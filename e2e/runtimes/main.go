// Command runtimes tries the shipped CNI files, unchanged, under real container runtimes: containerd 1.6 and 2.x through
// CRI, Podman on CNI, and nerdctl. Containers get addresses, reach each other and the host, are reached by a host port,
// and give all of it back. It needs root, Debian's packages and the Go module proxy; what it builds lies in the user's
// cache (berth-runtimes), outside of the tree. It ends with 0 when every claim holds, and leaves nothing running.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
	"github.com/berth-ipam/berth/internal/sandbox"
)

func main() {
	only := flag.String("only", "", "only the runtimes whose name contains this")
	restarts := flag.Int("restarts", 10, "how often the agent is restarted under a loop of sandboxes; 0: never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// What is built is built outside of the sandbox, which has no network.
	tree, err := os.Getwd()
	var tools *tools
	if err == nil {
		tools, err = fetch(ctx)
	}
	if err == nil {
		tools.berth, err = lab.Build()
	}
	if err == nil {
		err = sandbox.Enter()
	}
	if err == nil {
		err = tell(ctx, tree, tools, *only, *restarts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtimes:", err)
		os.Exit(1)
	}
}

// tell tells every story, and fails if one does not hold.
func tell(ctx context.Context, tree string, tools *tools, only string, restarts int) error {
	m, err := newMachine(ctx, tree, tools)
	if err != nil {
		return err
	}
	defer m.stop()
	c := &target.Claims{}
	for _, e := range engines(m) {
		if !strings.Contains(e.name(), only) {
			continue
		}
		for _, file := range []string{"10-berth.conflist", "10-bridge-berth.conflist"} {
			c.About(e.name()+", "+file, func() error { return shipped(ctx, m, e, file, c) })
		}
		if cri, ok := e.(*cri); ok && cri.reportsStatus && restarts > 0 {
			c.About(e.name()+", the agent is restarted under a loop of sandboxes", func() error { return restarted(ctx, m, cri, restarts, c) })
		}
	}
	return c.Sum()
}
