package mutate

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestOnlyLinesThatChangedSinceACommitAreChosen(t *testing.T) {
	dir := t.TempDir()
	git := func(arguments ...string) {
		t.Helper()
		command := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e@example.com"}, arguments...)...)
		command.Dir = dir
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v: %s", arguments, err, output)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q")
	write("a.go", "1\n2\n3\n4\n5\n6\n")
	write("b.go", "1\n2\n")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	write("a.go", "1\n2x\n3\n5\n6\n7\n8\n")
	changed, err := changedSince(dir, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]bool{2: true, 6: true, 7: true}
	for line := range 10 {
		if got := changed.has("a.go", line); got != want[line] {
			t.Errorf("line %d is changed: %t", line, got)
		}
	}
	if changed.has("b.go", 1) {
		t.Error("a line of a file that did not change is")
	}
	if _, err := changedSince(dir, "none"); err == nil {
		t.Error("a commit that does not exist is taken")
	}
}
