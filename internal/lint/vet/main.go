// Command vet holds the source to what neither go vet nor staticcheck look for. It is a module of its own, so that what it
// is made of is no dependency of Berth. `make lint` builds it and runs it by go vet, which keeps its answers in the build cache.
package main

import (
	"strings"

	"codeberg.org/polyfloyd/go-errorlint/errorlint"
	"github.com/gostaticanalysis/nilerr"
	"github.com/timakin/bodyclose/passes/bodyclose"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	unitchecker.Main(
		errorlint.NewAnalyzer(errorlint.WithComparison(true), errorlint.WithAsserts(true)),
		exceptTests(nilerr.Analyzer),
		bodyclose.Analyzer,
		exceptTests(flatten),
	)
}

// exceptTests leaves tests alone, which say "answer %v, error %v" of an error that may be nil, and try again until there is none.
func exceptTests(a *analysis.Analyzer) *analysis.Analyzer {
	of := *a
	of.Run = func(pass *analysis.Pass) (any, error) {
		some := *pass
		some.Report = func(d analysis.Diagnostic) {
			if !strings.HasSuffix(pass.Fset.Position(d.Pos).Filename, "_test.go") {
				pass.Report(d)
			}
		}
		return a.Run(&some)
	}
	return &of
}
