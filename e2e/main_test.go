// Package e2e proves what the project promises on a lab: real programs, a real etcd, a real kernel.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

var (
	binaries  string
	plugins   string // the CNI project's; empty where they cannot be built
	noPlugins error
)

func TestMain(m *testing.M) {
	var err error
	if binaries, err = lab.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	plugins, noPlugins = lab.Plugins()
	if err := lab.Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
