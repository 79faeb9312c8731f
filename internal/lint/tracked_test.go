package lint

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const largest = 200 << 10 // bytes of a tracked file

func TestNothingIsTrackedThatWasBuilt(t *testing.T) {
	list := exec.Command("git", "ls-files", "-z")
	list.Dir = "../.."
	names, err := list.Output()
	if err != nil {
		t.Skipf("this is no clone of the repository: %v", err) // a release's archive has no history
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if wrong := built(t, filepath.Join("../..", name)); wrong != "" {
			t.Errorf("%s is tracked, and %s: git rm --cached it", name, wrong)
		}
	}
}

func TestTheRuleOfTrackedFilesCatchesAProgram(t *testing.T) {
	dir := t.TempDir()
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
		want bool
	}{
		"program":    {"\x7fELF\x02\x01", 0o755, true},
		"object":     {"\x7fELF\x02\x01", 0o644, true},
		"executable": {"package lint\n", 0o755, true},
		"large":      {strings.Repeat("a", largest+1), 0o644, true},
		"script":     {"#!/bin/sh\n", 0o755, false},
		"text":       {strings.Repeat("a", largest), 0o644, false},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
		if wrong := built(t, path); (wrong != "") != file.want {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}

// built says why a file does not belong into the repository; empty: it does.
func built(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if os.IsNotExist(err) || err == nil && !info.Mode().IsRegular() {
		return "" // deleted and not committed yet
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case bytes.HasPrefix(text, []byte("\x7fELF")):
		return "is a program or a library"
	case info.Mode()&0o111 != 0 && !bytes.HasPrefix(text, []byte("#!")):
		return "may be executed, and is no script"
	case len(text) > largest:
		return fmt.Sprintf("has %d bytes, of which %d are allowed", len(text), largest)
	}
	return ""
}
