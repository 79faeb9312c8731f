package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// advice are the words by which a line says what to do about it, or that the agent does it.
var advice = []string{
	": see ", ": look at ", "; see ", "look at ", "make room", "make it anew", "delete it", "exclude it", "take it off", "raise the limit",
	"find out", "give its path", "run its program", "put it back", "restart ", "upgrade ", "remove ",
	"tried again", "tries again", "trying again", "settles again", "settles anew", "it is made again", "found out by",
}

// Whoever reads a warning at night is told what to do: by the line itself, or by docs/operations.md.
func TestEveryWarningSaysWhatToDo(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for file := range sources(t) {
		if !strings.HasPrefix(file, "agent/") && !strings.HasPrefix(file, "cmd/berthd/") && !strings.HasPrefix(file, "lease/") &&
			!strings.HasPrefix(file, "netops/") {
			continue
		}
		for _, line := range warnings(t, "../../"+file, nil) {
			all[line] = true
			if !advises(line) && !strings.Contains(string(manual), "| `"+line+"` |") {
				t.Errorf("%s logs %q: say in the line what to do about it, or in a row of docs/operations.md, By log line", file, line)
			}
		}
	}
	_, table, _ := strings.Cut(string(manual), "## By log line")
	table, _, _ = strings.Cut(table, "\n## ")
	for row := range strings.Lines(table) {
		if line, _, is := strings.Cut(strings.TrimPrefix(row, "| `"), "` |"); is && strings.HasPrefix(row, "| `") && !all[line] {
			t.Errorf("docs/operations.md has the log line %q, which nothing logs", line)
		}
	}
}

func TestTheRuleOfWarningsCatchesOneWithoutAdvice(t *testing.T) {
	const source = `package p
func f() {
	log.Warn("it is broken", err)
	x.Log.Error("it is broken, " + "too: look at it")
	log.Info("all is well")
	log.Warn(words)
}`
	lines := warnings(t, "p.go", source)
	if want := []string{"it is broken", "it is broken, too: look at it"}; !slices.Equal(lines, want) {
		t.Errorf("found %q, want %q", lines, want)
	}
	if advises(lines[0]) || !advises(lines[1]) {
		t.Error("the advice is in the second line alone")
	}
}

func advises(line string) bool {
	return slices.ContainsFunc(advice, func(words string) bool { return strings.Contains(line, words) })
}

// warnings are the constant messages that a file logs as a warning or an error.
func warnings(t *testing.T, name string, source any) (all []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Warn" || f.Sel.Name == "Error") {
			if text, constant := textOf(call.Args[0]); constant {
				all = append(all, text)
			}
		}
		return true
	})
	return all
}

// textOf is a text that stands in the source, also in parts.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, one := textOf(e.X)
		right, other := textOf(e.Y)
		return left + right, one && other
	}
	return "", false
}
