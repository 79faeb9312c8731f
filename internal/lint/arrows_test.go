package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// turnsBack are the references between files of the agent's packages that are part of a circle, and why each stays.
var turnsBack = map[string]string{
	"agent/addresses/asked.go → choose.go": "how a Chooser chooses an address that was asked for",
	"agent/node/records.go → node.go":      "a Node keeps which damaged records it knows",
}

// references are which files of a directory's package use what other files of it declare, by file. What is imported is not
// needed for that, and is left out.
func references(t *testing.T, dir string) map[string][]string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	unresolved := types.Config{Error: func(error) {}, Importer: nothing{}}
	pkg, _ := unresolved.Check(dir, fset, files, info)
	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	all := map[string]map[string]bool{}
	for id, o := range info.Uses {
		from := fileOf(id.Pos())
		if o.Pkg() != pkg || !o.Pos().IsValid() || fileOf(o.Pos()) == from {
			continue
		}
		if all[from] == nil {
			all[from] = map[string]bool{}
		}
		all[from][fileOf(o.Pos())] = true
	}
	sorted := map[string][]string{}
	for from, to := range all {
		sorted[from] = slices.Sorted(maps.Keys(to))
	}
	return sorted
}

type nothing struct{}

func (nothing) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is left out", path)
}

// circle is a way from a file back to itself; nil: there is none.
func circle(references map[string][]string, way []string, done map[string]bool) []string {
	last := way[len(way)-1]
	if i := slices.Index(way[:len(way)-1], last); i >= 0 {
		return way[i:]
	}
	if done[last] {
		return nil
	}
	for _, next := range references[last] {
		if found := circle(references, append(slices.Clone(way), next), done); found != nil {
			return found
		}
	}
	done[last] = true
	return nil
}

func TestTheFilesOfAPartOfTheAgentReferOneWay(t *testing.T) {
	used := map[string]bool{}
	for dir := range rules {
		if dir != "agent" && !strings.HasPrefix(dir, "agent/") {
			continue
		}
		refers := references(t, filepath.Join("../..", dir))
		for from := range refers {
			refers[from] = slices.DeleteFunc(refers[from], func(to string) bool {
				arrow := fmt.Sprintf("%s/%s → %s", dir, from, to)
				_, known := turnsBack[arrow]
				used[arrow] = known
				return known
			})
		}
		done := map[string]bool{}
		for _, from := range slices.Sorted(maps.Keys(refers)) {
			if way := circle(refers, []string{from}, done); way != nil {
				t.Errorf("%s: files refer in a circle: %s; move what the last takes from the first to where both find it", dir,
					strings.Join(way, " → "))
				break
			}
		}
	}
	for arrow := range turnsBack {
		if !used[arrow] {
			t.Errorf("%s is no reference any more: end its row", arrow)
		}
	}
}
