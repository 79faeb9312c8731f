// Command demo shows Berth at work on three nodes of a lab, and checks every claim that it prints. It ends with 0
// when each one holds, 1 when one does not, and 130 when it is interrupted; it leaves nothing behind either way.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-ipam/berth/e2e/lab"
)

func main() {
	binaries := flag.String("bin", "bin", "directory of berth, berthd and berthctl")
	flag.Parse()
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, "demo: this machine has no place for it:", err)
		fmt.Fprintln(os.Stderr, "run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	directory, err := filepath.Abs(*binaries)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	family, err := chosen(os.Getenv("FAMILY"), os.Getenv("MODE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(2)
	}
	os.Exit(demo(ctx, os.Stdout, family, directory))
}

// demo tells the story and gives the program's exit code.
func demo(ctx context.Context, out io.Writer, family family, binaries string) int {
	told := newTelling(out)
	err := tell(ctx, told, family, binaries)
	if ctx.Err() != nil {
		told.say("interrupted; everything has been removed")
		return 130
	}
	return told.end(err)
}
