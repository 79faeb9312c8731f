package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"testing"

	"golang.org/x/tools/go/analysis"
)

const source = `package p

import (
	"errors"
	"fmt"
)

type coded struct{ error }

func Errorf(code int, format string, args ...any) *coded { return &coded{fmt.Errorf(format, args...)} }

func f(err error, n int) []error {
	return []error{
		fmt.Errorf("kept: %w", err),
		fmt.Errorf("lost: %v", err),
		fmt.Errorf("%d of %5.2f, and lost: %s", n, 1.0, err),
		Errorf(7, "lost, with a code: %v", err),
		Errorf(7, "kept, with a code: %d %w", n, err),
		errors.New(err.Error()),
		fmt.Errorf("its type: %T, 100%% of it", err),
	}
}
`

func TestAFlattenedCauseIsFound(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(set, "source", nil)}
	pkg, err := config.Check("p", set, []*ast.File{file}, info)
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	pass := &analysis.Pass{Fset: set, Files: []*ast.File{file}, Pkg: pkg, TypesInfo: info, Report: func(d analysis.Diagnostic) {
		lines = append(lines, set.Position(d.Pos).Line)
	}}
	if _, err := findFlattened(pass); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(lines), "[15 16 17 19]"; got != want {
		t.Errorf("causes are lost in the lines %s: want %s", got, want)
	}
}
