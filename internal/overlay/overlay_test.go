package overlay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASourceThatIsNotAsAChangeExpectsItIsNamed(t *testing.T) {
	tree := source(t)
	for words, s := range map[string]Set{
		"a.go has this text 0 times": {Tree: tree, Changes: []Change{{File: "a.go", Old: "three", New: "new"}}},
		"a.go has this text 2 times": {Tree: tree, Changes: []Change{{File: "a.go", Old: "two", New: "new"}}},
		"b.go: no such file":         {Tree: tree, Changes: []Change{{File: "b.go", Old: "one", New: "new"}}},
		"the tree has already":       {Tree: tree, Adds: map[string]string{"a.go": "package a"}},
	} {
		if _, err := Write(t.TempDir(), s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: want an error that says %q", err, words)
		}
	}
}

func TestSeveralTreesAreChangedForOneBuildAndStayAsTheyAre(t *testing.T) {
	one, two := source(t), source(t)
	change := []Change{{File: "a.go", Old: "one", New: "new"}}
	file, err := Write(t.TempDir(), Set{Tree: one, Changes: change}, Set{Tree: two, Changes: change, Adds: map[string]string{"b.go": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var written struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(one, "a.go"): "new two two", filepath.Join(two, "a.go"): "new two two", filepath.Join(two, "b.go"): "b",
	} {
		if text, err := os.ReadFile(written.Replace[path]); err != nil || string(text) != want {
			t.Errorf("instead of %s there is %q, error %v: want %q", path, text, err, want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(one, "a.go")); err != nil || string(text) != "one two two" {
		t.Errorf("the source itself is %q by now, error %v", text, err)
	}
}

// source is a directory with one file.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
