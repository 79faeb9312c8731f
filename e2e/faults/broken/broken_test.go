package broken

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func tree(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestEveryBrokenBuildFitsTheSourceAndCompiles(t *testing.T) {
	for _, b := range Builds {
		t.Run(b.Name, func(t *testing.T) {
			overlay, err := b.Overlay(tree(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			files, err := b.Of(tree(t)).Files()
			if err != nil {
				t.Fatal(err)
			}
			arguments := []string{"build", "-trimpath", "-overlay", overlay}
			for file := range files {
				arguments = append(arguments, "./"+path.Dir(file))
			}
			build := exec.Command("go", arguments...)
			build.Dir, build.Env = tree(t), append(os.Environ(), "CGO_ENABLED=0") // as make build does, for the compiler's cache
			if output, err := build.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", build, output)
			}
		})
	}
}

func TestASourceThatIsNotAsAChangeExpectsItIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(file, old string) Build {
		return Build{Name: "x", Changes: []Change{{File: file, Old: old, New: "new"}}}
	}
	for words, b := range map[string]Build{
		"a.go has this text 0 times": change("a.go", "three"),
		"a.go has this text 2 times": change("a.go", "two"),
		"b.go: no such file":         change("b.go", "one"),
		"the tree has already":       {Name: "x", Adds: map[string]string{"a.go": "package a"}},
	} {
		if _, err := b.Overlay(dir, t.TempDir()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: want an error that says %q", err, words)
		}
	}
	out := t.TempDir()
	if _, err := change("a.go", "one").Overlay(dir, out); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "a.go")); err != nil || string(text) != "new two two" {
		t.Errorf("the changed file is %q, error %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a.go")); err != nil || string(text) != "one two two" {
		t.Errorf("the source itself is %q by now, error %v", text, err)
	}
}
