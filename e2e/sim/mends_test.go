package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/faults/broken"
)

// mends are the builds that take a mend of an earlier fault back, each from a file of testdata/mends.
func mends(t *testing.T) (all []broken.Build) {
	t.Helper()
	files, err := filepath.Glob("testdata/mends/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no mends", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, says, err := broken.Parse(strings.TrimSuffix(filepath.Base(file), ".txtar"), text)
		if err != nil || says == "" {
			t.Fatalf("%s says %q: %v", file, says, err)
		}
		all = append(all, b)
	}
	return all
}

// tree is the root of the source.
func tree(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestEveryMendThatIsTakenBackFitsTheSource(t *testing.T) {
	for _, b := range mends(t) {
		if _, err := b.Overlay(tree(t), t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}
