package model

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// named is a function of lease's that a step is.
var named = regexp.MustCompile(`\b(session|block|reservation)\.([A-Z][A-Za-z]*)`)

func TestAStepThatIsTheCodesHasItsName(t *testing.T) {
	functions := map[string]bool{}
	for _, pkg := range []string{"session", "block", "reservation"} {
		for _, file := range parsed(t, "../"+pkg+"/*.go") {
			for name := range declared(file) {
				functions[pkg+"."+name] = true
			}
		}
	}
	steps := map[string]bool{}
	for _, file := range parsed(t, "*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			if text, is := n.(*ast.BasicLit); is && text.Kind == token.STRING {
				name, _ := strconv.Unquote(text.Value)
				for _, function := range named.FindAllString(name, -1) {
					if steps[function] = true; !functions[function] {
						t.Errorf("the step %q is named after %s, which does not exist", name, function)
					}
				}
			}
			return true
		})
	}
	for _, function := range []string{
		"session.Join", "session.Arm", "session.Proven", "session.AcceptCluster", "block.Claim", "block.Release", "block.TakeOver",
		"block.Transfer", "block.Resolve", "reservation.Reserve", "reservation.Detach",
	} {
		if !steps[function] {
			t.Errorf("no model has a step of %s", function)
		}
	}
}

// parsed are the files that are no tests.
func parsed(t *testing.T, pattern string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "_test.go") })
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// declared are the names of a file's functions, of its methods, and of those that its interfaces have.
func declared(file *ast.File) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			names[n.Name.Name] = true
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				for _, name := range m.Names {
					names[name.Name] = true
				}
			}
		}
		return true
	})
	return names
}
