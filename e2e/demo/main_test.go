package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

var binaries string

func TestMain(m *testing.M) {
	var err error
	if binaries, err = lab.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := lab.Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestEveryClaimOfTheDemoHoldsInEachFamilyAndNothingIsLeft(t *testing.T) {
	before := namespaceMounts(t)
	for _, name := range []string{"v4", "v4", "v6", "both"} { // the first twice in a row
		for _, mode := range []string{"flat", "routed", "vxlan", "auto"} {
			family, err := chosen(name, mode)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if code := demo(t.Context(), &out, family, binaries); code != 0 || strings.Contains(out.String(), "NOT ") {
				t.Fatalf("the demo of %s, %s ends with %d:\n%s", name, mode, code, out.String())
			}
			nothingLeft(t, before)
		}
	}
}

// TestAnInterruptedDemoLeavesNothing ends it in each of its acts.
func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	before := namespaceMounts(t)
	for act := 1; act <= 9; act += 2 {
		ctx, cancel := context.WithCancel(t.Context())
		out := &interrupter{at: fmt.Sprintf("\n%d. ", act), interrupt: cancel}
		if code := demo(ctx, out, families["v4"], binaries); code != 130 {
			t.Errorf("interrupted in act %d, the demo ends with %d: want 130\n%s", act, code, out.text.String())
		}
		cancel()
		nothingLeft(t, before)
	}
}

// An interrupter calls interrupt once it has been told a text.
type interrupter struct {
	text      bytes.Buffer
	at        string
	interrupt func()
}

func (i *interrupter) Write(p []byte) (int, error) {
	n, err := i.text.Write(p)
	if strings.Contains(i.text.String(), i.at) {
		i.interrupt()
	}
	return n, err
}

// namespaceMounts are the mounts that keep network namespaces alive. The machine may have some of its own: the sandbox has
// them, too.
func namespaceMounts(t *testing.T) (mounts []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "nsfs") {
			mounts = append(mounts, line)
		}
	}
	return mounts
}

// nothingLeft looks through the sandbox for what a demo could have forgotten; before are the mounts that were there.
func nothingLeft(t *testing.T, before []string) {
	t.Helper()
	if links, err := net.Interfaces(); err != nil || len(links) != 1 {
		t.Errorf("links %v, error %v: want lo alone", links, err)
	}
	if mounts := namespaceMounts(t); !slices.Equal(mounts, before) {
		t.Errorf("the mounts of network namespaces are %q: want %q, as before", mounts, before)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		if filepath.Base(process) != strconv.Itoa(os.Getpid()) {
			command, _ := os.ReadFile(filepath.Join(process, "cmdline"))
			t.Errorf("process %s is left: %q", filepath.Base(process), command)
		}
	}
	if files, err := filepath.Glob("/run/lab*"); err != nil || len(files) > 0 {
		t.Errorf("files %v, error %v: want none", files, err)
	}
}
