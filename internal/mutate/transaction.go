package mutate

import (
	"fmt"
	"go/ast"
	"go/types"
)

// elements are the types of which one can be left out of several, in a call or a literal: parts of etcd's transactions.
var elements = map[string]Kind{"Cmp": Compare, "Op": Write}

// element is how one of several of a type is left out.
func element(t types.Type) (Kind, bool) {
	for name, kind := range elements {
		if is(t, "client/v3", name) {
			return kind, true
		}
	}
	return "", false
}

func (f *finder) call(c *ast.CallExpr) {
	if is(f.types.TypeOf(c.Fun), "time", "Duration") {
		return
	}
	if selected, ok := c.Fun.(*ast.SelectorExpr); ok {
		if on := f.types.TypeOf(selected.X); on != nil && is(on, "time", "Time") && len(c.Args) == 1 {
			f.timeCall(c, selected)
		}
	}
	signature, ok := types.Unalias(f.types.TypeOf(c.Fun)).(*types.Signature)
	if !ok || !signature.Variadic() || c.Ellipsis.IsValid() || len(c.Args) < signature.Params().Len() {
		return
	}
	slice, ok := signature.Params().At(signature.Params().Len() - 1).Type().(*types.Slice)
	if !ok {
		return
	}
	if kind, ok := element(slice.Elem()); ok {
		args := c.Args[signature.Params().Len()-1:]
		if _, statement := f.up(0).(*ast.ExprStmt); statement && len(args) == 1 {
			return // to skip the call is the same
		}
		f.edits = append(f.edits, edit{from: f.offset(args[0].Pos()), to: f.offset(args[len(args)-1].End()),
			before: fmt.Sprintf("mutant.Drop(%d, ", f.drops(kind, args)), after: ")..."})
	}
}

func (f *finder) drops(kind Kind, parts []ast.Expr) (first int) {
	for i, e := range parts {
		if n := f.add(kind, e, e); i == 0 {
			first = n
		}
	}
	return first
}

func (f *finder) literal(x *ast.CompositeLit) {
	t := f.types.TypeOf(x)
	if t == nil || len(x.Elts) == 0 {
		return
	}
	slice, ok := types.Unalias(t).(*types.Slice)
	if !ok {
		return
	}
	if kind, ok := element(slice.Elem()); ok {
		f.wrap(x, fmt.Sprintf("mutant.Drop(%d, ", f.drops(kind, x.Elts)), "...)")
	}
}
