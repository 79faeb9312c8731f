package main

import (
	"go/ast"
	"go/constant"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// flatten finds causes that are put into the words of an error and lost: wire.Errorf("%v", err), errors.New(err.Error()).
var flatten = &analysis.Analyzer{Name: "flatten", Doc: "errors keep their cause: %w, never %v or err.Error()", Run: findFlattened}

func findFlattened(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				inspect(pass, call)
			}
			return true
		})
	}
	return nil, nil
}

func inspect(pass *analysis.Pass, call *ast.CallExpr) {
	f, ok := called(pass.TypesInfo, call).(*types.Func)
	if !ok || !givesError(f) || !makesErrors(f) {
		return
	}
	for _, argument := range call.Args {
		if text, ok := argument.(*ast.CallExpr); ok && isErrorText(pass.TypesInfo, text) {
			pass.Reportf(argument.Pos(), "the cause is flattened to its words: give the error itself, with %%w")
		}
	}
	format, at := formatOf(pass.TypesInfo, call)
	if at < 0 {
		return
	}
	for i, verb := range verbs(format) {
		if at+1+i < len(call.Args) && verb != 'w' && verb != 'T' && isError(pass.TypesInfo.TypeOf(call.Args[at+1+i])) {
			pass.Reportf(call.Args[at+1+i].Pos(), "the cause is flattened by %%%c: want %%w", verb)
		}
	}
}

// makesErrors reports whether a function makes an error of words: Errorf of any package, and errors.New.
func makesErrors(f *types.Func) bool {
	return f.Name() == "Errorf" || f.Pkg() != nil && f.Pkg().Path() == "errors" && f.Name() == "New"
}

func givesError(f *types.Func) bool {
	results := f.Signature().Results()
	return results.Len() == 1 && isError(results.At(0).Type())
}

func called(info *types.Info, call *ast.CallExpr) types.Object {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return info.Uses[f]
	case *ast.SelectorExpr:
		return info.Uses[f.Sel]
	}
	return nil
}

// isErrorText reports whether a call is err.Error().
func isErrorText(info *types.Info, call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && f.Sel.Name == "Error" && len(call.Args) == 0 && isError(info.TypeOf(f.X))
}

func isError(t types.Type) bool {
	return t != nil && types.Implements(t, types.Universe.Lookup("error").Type().Underlying().(*types.Interface))
}

// formatOf is the first argument that is a constant text, and where it stands; -1: there is none.
func formatOf(info *types.Info, call *ast.CallExpr) (string, int) {
	for i, argument := range call.Args {
		if v := info.Types[argument].Value; v != nil && v.Kind() == constant.String {
			return constant.StringVal(v), i
		}
	}
	return "", -1
}

// verbs are those of a format, each of which takes one argument. Formats with * or an explicit index are left alone: go vet
// looks at those.
func verbs(format string) (all []byte) {
	if strings.Contains(format, "*") || strings.Contains(format, "%[") {
		return nil
	}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.", format[i]) >= 0; i++ {
		}
		if i < len(format) && format[i] != '%' {
			all = append(all, format[i])
		}
	}
	return all
}
