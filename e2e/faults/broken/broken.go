// Package broken makes programs that lack one guard each, so that the runs under faults can show that they would notice. What is
// taken out is a table of changes to the source, which go build -overlay builds with: the programs that anybody uses know
// nothing of it.
package broken

import (
	"fmt"

	"github.com/berth-ipam/berth/internal/overlay"
)

// A Build is the programs without one guard.
type Build struct {
	Name    string
	Changes []Change
	Adds    map[string]string // whole files, by their paths in the tree
	// Routed says that only nodes which route to each other show it.
	Routed bool
}

// A Change replaces a text that is in a file exactly once.
type Change = overlay.Change

// Builds are all of them.
var Builds = []Build{epoch, journal, wait, settling, generation, routes}

// Of are the changes to the sources in tree.
func (b Build) Of(tree string) overlay.Set {
	return overlay.Set{Tree: tree, Changes: b.Changes, Adds: b.Adds}
}

// Overlay writes the changed files below dir, and beside them the file that go build -overlay wants, which it returns. It fails where
// the source is not as a change expects it.
func (b Build) Overlay(tree, dir string) (string, error) {
	file, err := overlay.Write(dir, b.Of(tree))
	if err != nil {
		return "", fmt.Errorf("broken: make %s: %w", b.Name, err)
	}
	return file, nil
}

// importing adds packages of the standard library to what a file imports.
func importing(file string, packages ...string) Change {
	lines := "import (\n"
	for _, p := range packages {
		lines += fmt.Sprintf("\t%q\n", p)
	}
	return Change{File: file, Old: "import (\n", New: lines}
}
