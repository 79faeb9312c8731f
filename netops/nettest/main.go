// Package nettest is what netops' tests stand on: network namespaces of a test's own, cables and switches between them, and
// datagrams that arrive or do not.
package nettest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// The first thread must not end: the runtime keeps it, and with it the namespace that it was in last.
func init() { runtime.LockOSThread() }

// Main runs a package's tests in a sandbox.
func Main(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
