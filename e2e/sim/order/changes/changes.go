// Package changes are what package order changes in the sources of Go's runtime and of package context.
package changes

import (
	"embed"
	"path/filepath"

	"github.com/berth-ipam/berth/internal/overlay"
)

// added are whole files, by the directories of src that they are added to.
//
//go:embed added
var added embed.FS

// Write writes the overlay of the sources below a GOROOT into dir, and returns the file that go build -overlay wants.
func Write(dir, root string) (string, error) {
	set, err := Of(root)
	if err != nil {
		return "", err
	}
	return overlay.Write(dir, set)
}

// Of are the changes to the sources below a GOROOT.
func Of(root string) (overlay.Set, error) {
	set := overlay.Set{Tree: filepath.Join(root, "src"), Changes: table, Adds: map[string]string{}}
	for _, p := range []string{"runtime", "context"} {
		text, err := added.ReadFile("added/" + p + ".go.txt")
		if err != nil {
			return set, err
		}
		set.Adds[p+"/ordered.go"] = string(text)
	}
	return set, nil
}
