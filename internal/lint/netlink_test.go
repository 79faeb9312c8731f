package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// handleFamilies are the arguments that stand before the families, by the function of vishvananda/netlink that opens a
// handle. Without families it opens one for each that the library knows, and fails on a kernel that lacks any of them
// (XFRM, for one). NewHandleAtFrom cannot be told any.
var handleFamilies = map[string]int{"NewHandle": 0, "NewHandleAt": 1, "NewHandleAtFrom": 2}

func TestANetlinkHandleNamesItsFamilies(t *testing.T) {
	for name := range allSources(t, func(string) bool { return true }) {
		for _, wrong := range handlesOfAllFamilies(t, "../../"+name, nil) {
			t.Error(wrong)
		}
	}
}

func TestTheRuleForNetlinkHandlesCatchesOneOfAllFamilies(t *testing.T) {
	const source = `package p
import "github.com/vishvananda/netlink"
func f() {
	netlink.NewHandle()
	netlink.NewHandleAt(ns)
	netlink.NewHandleAtFrom(a, b)
	netlink.NewHandle(unix.NETLINK_ROUTE)
	netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
}`
	if wrong := handlesOfAllFamilies(t, "p.go", source); len(wrong) != 3 {
		t.Errorf("three handles of all families are in the text, found: %q", wrong)
	}
}

func handlesOfAllFamilies(t *testing.T, name string, source any) (wrong []string) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, _ := function.X.(*ast.Ident)
		if before, opens := handleFamilies[function.Sel.Name]; from != nil && from.Name == "netlink" && opens && len(call.Args) <= before {
			wrong = append(wrong, fmt.Sprintf("%s: netlink.%s opens sockets of all families, some of which a kernel may lack: name them, "+
				"as in unix.NETLINK_ROUTE",
				strings.TrimPrefix(files.Position(call.Pos()).String(), "../../"), function.Sel.Name))
		}
		return true
	})
	return wrong
}
