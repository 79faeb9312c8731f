package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// A list that changes while the kernel writes it comes with an error of the netlink package, or short. internal/dump asks again.
func TestWholeListsOfTheKernelAreAskedForAgain(t *testing.T) {
	for file := range sources(t) {
		if strings.HasPrefix(file, "internal/") {
			continue
		}
		for _, line := range rawLists(t, "../../"+file) {
			t.Errorf("%s:%d asks the kernel for a list that may be interrupted: want dump.Whole around it", file, line)
		}
	}
}

func TestTheRuleOfWholeListsCatchesARawOne(t *testing.T) {
	file := t.TempDir() + "/raw.go"
	text := "package p\n\nfunc f() { _, _ = netlink.LinkList() }\nfunc g() { _, _ = dump.Whole(func() (l, error) { return " +
		"netlink.LinkList() }) }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines := rawLists(t, file); len(lines) != 1 || lines[0] != 3 {
		t.Errorf("raw lists are found in lines %v: want line 3", lines)
	}
}

// rawLists are the lines of a file that call a list of the netlink package outside of dump.Whole.
func rawLists(t *testing.T, file string) (lines []int) {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == "dump" {
			return false
		}
		switch selector.Sel.Name {
		case "LinkList", "AddrList", "RouteList", "RouteListFiltered", "NeighList", "RuleList", "FdbList":
			lines = append(lines, set.Position(call.Pos()).Line)
		}
		return true
	})
	return lines
}
