// Berthctl is for the people who run a cluster of Berth, and for their scripts: it applies the configuration, and
// shows who has which address, where and since when.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped at the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
