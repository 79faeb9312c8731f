// Package broken makes programs that lack one guard each, so that the runs under faults can show that they would notice. What is
// taken out is a table of changes to the source, which go build -overlay builds with: the programs that anybody uses know
// nothing of it.
package broken

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Build is the programs without one guard.
type Build struct {
	Name    string
	Changes []Change
	Adds    map[string]string // whole files, by their paths in the tree
}

// A Change replaces a text that is in a file exactly once.
type Change struct{ File, Old, New string }

// Builds are all of them.
var Builds = []Build{epoch, journal, wait, settling, generation}

// Overlay writes the changed files below dir, and beside them the file that go build -overlay wants, which it returns. It fails where
// the source is not as a change expects it.
func (b Build) Overlay(tree, dir string) (string, error) {
	files, err := b.files(tree)
	if err != nil {
		return "", fmt.Errorf("broken: make %s: %w", b.Name, err)
	}
	replace := map[string]string{}
	for name, text := range files {
		copied := filepath.Join(dir, filepath.FromSlash(name))
		if err := write(copied, []byte(text)); err != nil {
			return "", fmt.Errorf("broken: make %s: %w", b.Name, err)
		}
		replace[filepath.Join(tree, filepath.FromSlash(name))] = copied
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("broken: make %s: %w", b.Name, err)
	}
	file := filepath.Join(dir, "overlay.json")
	return file, write(file, overlay)
}

// files are the changed and the added files, by their paths in the tree.
func (b Build) files(tree string) (map[string]string, error) {
	files := map[string]string{}
	for name, text := range b.Adds {
		if _, err := os.Stat(filepath.Join(tree, name)); err == nil {
			return nil, fmt.Errorf("it adds %s, which the tree has already: give it another name", name)
		}
		files[name] = text
	}
	for _, c := range b.Changes {
		text, known := files[c.File]
		if !known {
			source, err := os.ReadFile(filepath.Join(tree, c.File))
			if err != nil {
				return nil, err
			}
			text = string(source)
		}
		if n := strings.Count(text, c.Old); n != 1 {
			return nil, fmt.Errorf("%s has this text %d times, want once; change the table in e2e/faults/broken with the source:\n%s",
				c.File, n, c.Old)
		}
		files[c.File] = strings.Replace(text, c.Old, c.New, 1)
	}
	return files, nil
}

func write(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// importing adds packages of the standard library to what a file imports.
func importing(file string, packages ...string) Change {
	lines := "import (\n"
	for _, p := range packages {
		lines += fmt.Sprintf("\t%q\n", p)
	}
	return Change{File: file, Old: "import (\n", New: lines}
}
