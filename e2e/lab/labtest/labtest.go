// Package labtest gives a test a lab that goes with it.
package labtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

// New makes a lab with a configuration that each of its nodes has. It goes with the test; its logs are shown when the
// test fails, and a race that berthd has found fails the test.
func New(t *testing.T, options lab.Options, configuration string) *lab.Lab {
	t.Helper()
	l, err := lab.New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		logs := l.Logs(200)
		if strings.Contains(logs, "DATA RACE") || strings.Contains(logs, "panic:") {
			t.Error("berthd has a data race or a panic")
		}
		if t.Failed() {
			t.Log(logs)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := Apply(t, l, configuration); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "each node has the configuration", func() error {
		var errs []error
		for _, node := range l.Nodes {
			errs = append(errs, node.CNIStatus(t.Context(), lab.Plain()))
		}
		return errors.Join(errs...)
	})
	return l
}

// Apply has berthctl apply a configuration, and gives what that prints.
func Apply(t *testing.T, l *lab.Lab, configuration string) (printed string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	return l.Nodes[0].Berthctl(t.Context(), "apply", "-f", file)
}

// Eventually waits, within bounds, until f has no error, and fails the test where it goes on having one.
func Eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := lab.Eventually(context.WithoutCancel(t.Context()), what, f); err != nil {
		t.Fatal(err)
	}
}
