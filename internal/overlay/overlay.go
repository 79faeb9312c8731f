// Package overlay changes sources for one build: go build -overlay reads what it writes, and the tree stays as it is.
package overlay

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Set are changes to the sources below one directory.
type Set struct {
	Tree    string // absolute
	Changes []Change
	Adds    map[string]string // whole files, by their paths in the tree
}

// A Change replaces a text that is in a file exactly once.
type Change struct{ File, Old, New string }

// Write writes the changed files below dir, and beside them the file that go build -overlay wants, which it returns. It fails where
// a source is not as a change expects it.
func Write(dir string, sets ...Set) (string, error) {
	replace := map[string]string{}
	for i, s := range sets {
		files, err := s.Files()
		if err != nil {
			return "", fmt.Errorf("overlay: %w", err)
		}
		for name, text := range files {
			copied := filepath.Join(dir, fmt.Sprint(i), filepath.FromSlash(name))
			if err := write(copied, []byte(text)); err != nil {
				return "", fmt.Errorf("overlay: %w", err)
			}
			replace[filepath.Join(s.Tree, filepath.FromSlash(name))] = copied
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	file := filepath.Join(dir, "overlay.json")
	return file, write(file, text)
}

// Files are the changed and the added files, by their paths in the tree.
func (s Set) Files() (map[string]string, error) {
	files := map[string]string{}
	for name, text := range s.Adds {
		if _, err := os.Stat(filepath.Join(s.Tree, name)); err == nil {
			return nil, fmt.Errorf("it adds %s, which the tree has already: give it another name", name)
		}
		files[name] = text
	}
	for _, c := range s.Changes {
		text, known := files[c.File]
		if !known {
			source, err := os.ReadFile(filepath.Join(s.Tree, c.File))
			if err != nil {
				return nil, err
			}
			text = string(source)
		}
		if n := strings.Count(text, c.Old); n != 1 {
			return nil, fmt.Errorf("%s has this text %d times, want once; change the table of changes with the source:\n%s", c.File, n, c.Old)
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
