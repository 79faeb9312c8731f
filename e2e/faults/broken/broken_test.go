package broken

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
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
