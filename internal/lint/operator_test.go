package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// operators are the functions that make what lease.OpenNode does not give to an agent.
var operators = []string{"lease.OpenOperator", "config.NewEditor", "admin.New"}

func TestAnAgentOpensNothingOfAnOperators(t *testing.T) {
	for file := range sources(t) {
		if !strings.HasPrefix(file, "agent/") && !strings.HasPrefix(file, "cmd/berthd/") {
			continue
		}
		for _, name := range mentions(t, "../../"+file, nil) {
			t.Errorf("%s makes %s: an agent has what lease.OpenNode opens", file, name)
		}
	}
}

func TestTheRuleOfOperatorsCatchesAnEditor(t *testing.T) {
	const source = "package p\nvar e = config.NewEditor(config.New(c))\nfunc f() { _ = admin.New }"
	if got := mentions(t, "p.go", source); !slices.Equal(got, []string{"config.NewEditor", "admin.New"}) {
		t.Errorf("found %q", got)
	}
}

// mentions are the operators that a file names.
func mentions(t *testing.T, name string, source any) (all []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(operators, x.Name+"."+s.Sel.Name) {
				all = append(all, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return all
}
