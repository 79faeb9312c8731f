package mutate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const runtime = "github.com/berth-ipam/berth/internal/mutate/mutant"

// overlay writes the packages' changed files below dir, and the file that the go command's -overlay wants. It gives that file's name
// and all mutants; their numbers are their places in the list plus one.
func overlay(dir string, sources []*source) (string, []Mutant, error) {
	var mutants []Mutant
	replace := map[string]string{}
	next := 1
	for _, s := range sources {
		for _, file := range s.asts {
			found, edits := s.places(file, &next)
			if len(found) == 0 {
				continue
			}
			mutants = append(mutants, found...)
			name := s.files.Position(file.Name.End()).Offset
			edits = append(edits, edit{from: name, to: name, before: fmt.Sprintf("; import mutant %q", runtime), replaced: true})
			changed := filepath.Join(dir, strings.ReplaceAll(s.inTree(file), "/", "_"))
			if err := os.WriteFile(changed, apply(s.texts[file], edits), 0o600); err != nil {
				return "", nil, fmt.Errorf("mutate: %w", err)
			}
			replace[s.paths[file]] = changed
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", nil, fmt.Errorf("mutate: %w", err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", nil, fmt.Errorf("mutate: %w", err)
	}
	return file, mutants, nil
}
