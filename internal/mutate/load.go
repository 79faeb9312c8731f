package mutate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tags are those that make test builds with.
const tags = "lockorder"

// A listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	DepOnly                 bool
	GoFiles                 []string
}

// A source is a package as it is written.
type source struct {
	listed
	name  string // in the tree
	files *token.FileSet
	types *types.Info
	texts map[*ast.File][]byte
	paths map[*ast.File]string
	asts  []*ast.File
}

// load reads the packages that the patterns of the go command name, and types them.
func load(root string, patterns []string) ([]*source, error) {
	all, err := list(root, patterns)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for _, p := range all {
		exports[p.ImportPath] = p.Export
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("go list has no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	var sources []*source
	for _, p := range all {
		if p.DepOnly || len(p.GoFiles) == 0 {
			continue
		}
		name, err := filepath.Rel(root, p.Dir)
		if err != nil {
			return nil, err
		}
		s := &source{listed: p, name: filepath.ToSlash(name), files: files, texts: map[*ast.File][]byte{}, paths: map[*ast.File]string{}}
		if err := s.read(imports); err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func list(root string, patterns []string) ([]listed, error) {
	command := exec.Command("go", append([]string{
		"list", "-tags", tags, "-export", "-deps", "-json=ImportPath,Dir,Export,DepOnly,GoFiles", "--"}, patterns...)...)
	command.Dir, command.Env = root, plain()
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("mutate: go list %s: %w: %s", strings.Join(patterns, " "), err, complaint.Bytes())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("mutate: what go list says: %w", err)
		}
		all = append(all, p)
	}
}

func (s *source) read(imports types.Importer) error {
	for _, file := range s.GoFiles {
		path := filepath.Join(s.Dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("mutate: %w", err)
		}
		parsed, err := parser.ParseFile(s.files, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("mutate: %w", err)
		}
		s.asts, s.texts[parsed], s.paths[parsed] = append(s.asts, parsed), text, path
	}
	s.types = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
		Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	config := types.Config{Importer: imports}
	if _, err := config.Check(s.ImportPath, s.files, s.asts, s.types); err != nil {
		return fmt.Errorf("mutate: type %s: %w", s.name, err)
	}
	return nil
}

// plain is the environment of the go command.
func plain() []string { return append(os.Environ(), "CGO_ENABLED=0") }
