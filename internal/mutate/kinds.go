package mutate

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// guard mutates a condition: it is never or always so, or one of its operands does not count. Where all operands have to hold, to
// drop one is harder to notice than a guard that is always taken, and so on the other side: the harder ones are made.
func (f *finder) guard(e ast.Expr) {
	if f.constant(e) {
		return
	}
	switch failed, plain := f.ofError(e); {
	case plain && failed:
		f.wrap(e, fmt.Sprintf("mutant.False(%d, ", f.add(Ignored, e, e)), ")")
		return
	case plain:
		f.wrap(e, fmt.Sprintf("mutant.True(%d, ", f.add(Ignored, e, e)), ")")
		return
	}
	if !combines(e, token.LOR) {
		f.wrap(e, fmt.Sprintf("mutant.False(%d, ", f.add(Never, e, e)), ")")
	}
	if !combines(e, token.LAND) {
		f.wrap(e, fmt.Sprintf("mutant.True(%d, ", f.add(Always, e, e)), ")")
	}
}

func combines(e ast.Expr, operator token.Token) bool {
	b, ok := ast.Unparen(e).(*ast.BinaryExpr)
	return ok && b.Op == operator
}

// ofError reports whether a condition only asks whether an error is there.
func (f *finder) ofError(e ast.Expr) (failed, plain bool) {
	b, ok := ast.Unparen(e).(*ast.BinaryExpr)
	if !ok || b.Op != token.NEQ && b.Op != token.EQL || !f.isError(b.X) || !f.types.Types[b.Y].IsNil() {
		return false, false
	}
	return b.Op == token.NEQ, true
}

// bounds are package mutant's functions for comparisons.
var bounds = map[token.Token]string{token.LSS: "Less", token.LEQ: "AtMost", token.GTR: "Greater", token.GEQ: "AtLeast"}

func (f *finder) binary(x *ast.BinaryExpr) {
	if f.constant(x) {
		return
	}
	switch x.Op {
	case token.LAND, token.LOR:
		name := map[token.Token]string{token.LAND: "True", token.LOR: "False"}[x.Op]
		for _, e := range []ast.Expr{x.X, x.Y} {
			if !combines(e, x.Op) && !f.constant(e) {
				f.wrap(e, fmt.Sprintf("mutant.%s(%d, ", name, f.add(Operand, e, e)), ")")
			}
		}
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if !f.someAtAll(x) {
			f.wrap(x, fmt.Sprintf("mutant.%s(%d, ", bounds[x.Op], f.add(Bound, x, x)), ")")
			f.replace(x.OpPos, x.OpPos+token.Pos(len(x.Op.String())), ",")
		}
		f.time(x.Y)
	case token.ADD, token.SUB:
		f.time(x.Y)
		if f.constant(x.X) {
			f.time(x.X)
		}
	case token.QUO, token.MUL:
		if up, ok := f.up(0).(*ast.BinaryExpr); !ok || up.Op != token.QUO && up.Op != token.MUL {
			f.time(x)
		}
	}
}

// someAtAll reports whether a comparison asks whether something has elements: with a moved bound it would always be so, which is a
// mutant already.
func (f *finder) someAtAll(x *ast.BinaryExpr) bool {
	call, ok := x.X.(*ast.CallExpr)
	if !ok || x.Op != token.GTR || string(f.text(x.Y)) != "0" {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && name.Name == "len"
}

// time mutates a duration, not a point in time that has a name of its own, nor a sum, whose parts are mutated.
func (f *finder) time(e ast.Expr) {
	t := f.types.TypeOf(e)
	if _, alias := t.(*types.Alias); alias || t == nil || !is(t, "time", "Duration") || f.timed[e] {
		return
	}
	if v := f.types.Types[e].Value; v != nil && v.ExactString() == "0" || combines(e, token.ADD) || combines(e, token.SUB) {
		return
	}
	f.timed[e] = true
	n := f.add(Doubled, e, e)
	f.add(Halved, e, e)
	f.wrap(e, fmt.Sprintf("mutant.Time(%d, ", n), ")")
}

// statements mutates those of a block that are calls.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		var call ast.Expr
		switch x := s.(type) {
		case *ast.ExprStmt:
			call = x.X
		case *ast.DeferStmt:
			call = x.Call
		case *ast.GoStmt:
			call = x.Call
		case *ast.AssignStmt:
			blank := func(e ast.Expr) bool { name, ok := e.(*ast.Ident); return ok && name.Name == "_" }
			if !slices.ContainsFunc(x.Lhs, func(e ast.Expr) bool { return !blank(e) }) && len(x.Rhs) == 1 {
				call = x.Rhs[0]
			}
		}
		if c, ok := call.(*ast.CallExpr); ok && f.matters(c) {
			f.wrap(s, fmt.Sprintf("if !mutant.Is(%d) { ", f.add(Skipped, s, s)), " }")
		}
	}
}

// matters reports whether a call can be skipped and somebody could notice: log lines and metrics are not promises of this kind.
func (f *finder) matters(c *ast.CallExpr) bool {
	if name, ok := c.Fun.(*ast.Ident); ok {
		_, builtin := f.types.Uses[name].(*types.Builtin)
		return !builtin || name.Name != "panic"
	}
	called, _ := f.called(c).(*types.Func)
	if called == nil || called.Pkg() == nil {
		return true
	}
	path := called.Pkg().Path()
	return !strings.HasPrefix(path, "go.uber.org/zap") && !strings.HasPrefix(path, "github.com/prometheus/") &&
		!strings.HasSuffix(path, "/metrics")
}

func (f *finder) called(c *ast.CallExpr) types.Object {
	switch x := ast.Unparen(c.Fun).(type) {
	case *ast.Ident:
		return f.types.Uses[x]
	case *ast.SelectorExpr:
		return f.types.Uses[x.Sel]
	}
	return nil
}

// assigned mutates a call of which only the error is kept: it is skipped and has succeeded.
func (f *finder) assigned(x *ast.AssignStmt) {
	if len(x.Lhs) == 1 && len(x.Rhs) == 1 {
		f.skip(x.Rhs[0])
	}
}

func (f *finder) skip(e ast.Expr) {
	c, ok := e.(*ast.CallExpr)
	if !ok || !f.isError(c) {
		return
	}
	if made := f.called(c); made == nil || made.Pkg() != nil && (made.Pkg().Path() == "fmt" || made.Pkg().Path() == "errors") {
		return
	}
	f.wrap(c, fmt.Sprintf("mutant.Do(%d, func() error { return ", f.add(Skipped, c, c)), " })")
}

// results mutates an error that is returned.
func (f *finder) results(x *ast.ReturnStmt) {
	signature := f.signature()
	if signature == nil || signature.Results == nil || len(x.Results) != signature.Results.NumFields() {
		return
	}
	last := x.Results[len(x.Results)-1]
	kind := signature.Results.List[len(signature.Results.List)-1].Type
	if f.types.Types[last].IsNil() || !f.isError(kind) {
		return
	}
	if _, tuple := f.types.TypeOf(last).(*types.Tuple); tuple {
		return
	}
	f.wrap(last, fmt.Sprintf("mutant.Nil(%d, ", f.add(NoError, x, last)), ")")
	if len(x.Results) == 1 {
		f.skip(last)
	}
}

// function has a declared function return at once: nothing, true and false, or zero values.
func (f *finder) function(x *ast.FuncDecl) {
	if x.Body == nil || len(x.Body.List) == 0 || x.Name.Name == "main" || x.Name.Name == "init" {
		return
	}
	var what []string
	switch {
	case x.Type.Results == nil || x.Type.Results.NumFields() == 0:
		what = []string{""}
	case x.Type.Results.NumFields() == 1 && string(f.text(x.Type.Results.List[0].Type)) == "bool":
		what = []string{"true", "false"}
	default:
		var zeros []string
		for _, r := range x.Type.Results.List {
			for range max(len(r.Names), 1) {
				zeros = append(zeros, "mutant.Zero["+oneType(f.text(r.Type))+"]()")
			}
		}
		what = []string{strings.Join(zeros, ", ")}
	}
	var early strings.Builder
	for _, w := range what {
		detail := strings.TrimSpace("return " + w)
		if strings.Contains(w, "Zero") {
			detail = "return zero values"
		}
		fmt.Fprintf(&early, " if mutant.Is(%d) { return %s };", f.named(Returned, x, detail), w)
	}
	after := x.Body.Lbrace + 1
	f.edits = append(f.edits, edit{from: f.offset(after), to: f.offset(after), before: early.String(), replaced: true})
}

// oneType is a type's text without breaks.
func oneType(text []byte) string { return strings.Join(strings.Fields(string(text)), " ") }

// timeCall mutates what is done with a point in time.
func (f *finder) timeCall(c *ast.CallExpr, selected *ast.SelectorExpr) {
	switch name := selected.Sel.Name; name {
	case "Add":
		f.time(c.Args[0])
	case "Before", "After":
		f.wrap(c, fmt.Sprintf("mutant.%s(%d, ", name, f.add(Bound, c, c)), "")
		f.replace(selected.X.End(), c.Args[0].Pos(), ", ")
	}
}
