package mutate

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
)

// A finder finds the places of one file and numbers them.
type finder struct {
	*source
	file    *ast.File
	next    *int
	stack   []ast.Node        // from the file to the node at hand
	timed   map[ast.Expr]bool // the durations that are mutated
	mutants []Mutant
	edits   []edit
}

// places are a file's mutants, numbered from *next, and what makes them.
func (s *source) places(file *ast.File, next *int) ([]Mutant, []edit) {
	f := &finder{source: s, file: file, next: next, timed: map[ast.Expr]bool{}}
	ast.Inspect(file, func(node ast.Node) bool {
		if node == nil {
			f.stack = f.stack[:len(f.stack)-1]
			return true
		}
		f.look(node)
		f.stack = append(f.stack, node)
		return true
	})
	return f.mutants, f.edits
}

func (f *finder) look(node ast.Node) {
	switch x := node.(type) {
	case *ast.FuncDecl:
		f.function(x)
	case *ast.IfStmt:
		f.guard(x.Cond)
	case *ast.CaseClause:
		if s, ok := f.up(1).(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, e := range x.List {
				f.guard(e)
			}
		}
		f.statements(x.Body)
	case *ast.CommClause:
		f.statements(x.Body)
	case *ast.BlockStmt:
		f.statements(x.List)
	case *ast.AssignStmt:
		f.assigned(x)
	case *ast.ReturnStmt:
		f.results(x)
	case *ast.BinaryExpr:
		f.binary(x)
	case *ast.CallExpr:
		f.call(x)
	case *ast.CompositeLit:
		f.literal(x)
	}
}

// up is the n-th node above the one at hand, not counted from it.
func (f *finder) up(n int) ast.Node {
	if n >= len(f.stack) {
		return nil
	}
	return f.stack[len(f.stack)-1-n]
}

// add makes a mutant of what is done at a node, and gives its number.
func (f *finder) add(kind Kind, at ast.Node, detail ast.Node) int {
	return f.named(kind, at, oneLine(f.text(detail)))
}

func (f *finder) named(kind Kind, at ast.Node, detail string) int {
	n := *f.next
	*f.next++
	place := f.files.Position(at.Pos())
	lines := strings.Split(string(f.texts[f.file]), "\n")
	f.mutants = append(f.mutants, Mutant{
		Number: n, Package: f.name, File: f.inTree(f.file), Line: place.Line, Function: f.inFunction(at),
		Text: strings.TrimSpace(lines[place.Line-1]), Kind: kind, Detail: detail,
	})
	return n
}

func (f *finder) wrap(node ast.Node, before, after string) {
	f.edits = append(f.edits, edit{from: f.offset(node.Pos()), to: f.offset(node.End()), before: before, after: after})
}

func (f *finder) replace(from, to token.Pos, with string) {
	f.edits = append(f.edits, edit{from: f.offset(from), to: f.offset(to), before: with, replaced: true})
}

func (f *finder) offset(at token.Pos) int { return f.files.Position(at).Offset }

func (f *finder) text(node ast.Node) []byte {
	return f.texts[f.file][f.offset(node.Pos()):f.offset(node.End())]
}

// inTree is a file's path in the tree.
func (s *source) inTree(file *ast.File) string { return s.name + "/" + filepath.Base(s.paths[file]) }

// inFunction is the name of the declared function around, with its receiver's type.
func (f *finder) inFunction(at ast.Node) string {
	declared, _ := at.(*ast.FuncDecl)
	for _, node := range f.stack {
		if d, ok := node.(*ast.FuncDecl); ok {
			declared = d
		}
	}
	switch {
	case declared == nil:
		return "-"
	case declared.Recv == nil || len(declared.Recv.List) == 0:
		return declared.Name.Name
	}
	return fmt.Sprintf("(%s).%s", f.text(declared.Recv.List[0].Type), declared.Name.Name)
}

// signature is that of the innermost function around, a literal's too.
func (f *finder) signature() *ast.FuncType {
	for i := len(f.stack) - 1; i >= 0; i-- {
		switch x := f.stack[i].(type) {
		case *ast.FuncLit:
			return x.Type
		case *ast.FuncDecl:
			return x.Type
		}
	}
	return nil
}

func (f *finder) constant(e ast.Expr) bool { return f.types.Types[e].Value != nil }

// isError reports whether an expression has the type error itself.
func (f *finder) isError(e ast.Expr) bool {
	t := f.types.TypeOf(e)
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

// is reports whether a type is the named one of a package, whose path ends so.
func is(t types.Type, path, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Pkg() != nil && strings.HasSuffix(named.Obj().Pkg().Path(), path) && named.Obj().Name() == name
}
