package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seams are where what is outside of the programs comes in, by what only they may use. Everybody else is given it, so that a test
// can give something else: see ARCHITECTURE.md.
var seams = map[string][]string{
	"math/rand": {"internal/random"}, "math/rand/v2": {"internal/random"},
	// An embedded etcd's cluster token is to differ from that of any other etcd that ever was, whoever repeats what.
	"crypto/rand":          {"internal/random", "lease/embedded"},
	"time.Now().UTC":       {"internal/clock"},
	"unix.ClockGettime":    {"internal/clock"},
	"SYS_CLOCK_GETTIME":    {"internal/clock"},
	"unix.CLOCK_BOOTTIME":  {"internal/clock"},
	"unix.CLOCK_MONOTONIC": {"internal/clock"},
	"clientv3.New":         {"lease/kv"},
	"netops.Open":          {"agent"},
	"net.Listen":           {"agent"}, "net.ListenUnix": {"agent/server"},
	"os.OpenFile": filers, "os.MkdirAll": filers, "os.Rename": filers, "os.Remove": filers,
}

// filers have files that are not an agent's: the plugin's notes, an embedded etcd's, and the locks of whole directories, which are the
// process's before there is an agent. The agent's own are on the disk that it is given.
var filers = []string{"internal/disk", "internal/wire", "internal/sandbox", "agent/exclusive", "agent/server", "lease/embedded", "client"}

// simulated are the folders whose code a simulation runs; helpers are packages in them that at most tests import.
var (
	simulated = []string{"agent", "allocator", "client", "internal", "lease", "metrics", "netops"}
	helpers   = []string{"internal/etcdtest", "internal/mutate", "internal/mutate/mutant", "internal/mutate/run", "internal/overlay",
		"lease/lab", "netops/nettest"}
)

func TestWhatIsOutsideComesInByItsSeam(t *testing.T) {
	for name := range sources(t) {
		top, _, _ := strings.Cut(name, "/")
		if slices.Contains(simulated, top) && !slices.Contains(helpers, path.Dir(name)) {
			for _, wrong := range pastSeams(t, "../../"+name, nil) {
				t.Error(wrong)
			}
		}
	}
}

func TestTheRuleForSeamsCatchesWhoGoesPastThem(t *testing.T) {
	const source = `package p
import ("crypto/rand"; "math/rand/v2"; "time"; clientv3 "go.etcd.io/etcd/client/v3")
func f() {
	record(time.Now().UTC())
	clientv3.New(clientv3.Config{})
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	began := time.Now() // of a duration
	time.Since(began)
	when.UTC()
}`
	if wrong := pastSeams(t, "../../agent/p.go", source); len(wrong) != 6 {
		t.Errorf("six ways past a seam are in the text, found: %q", wrong)
	}
	if wrong := pastSeams(t, "../../lease/kv/p.go", source); len(wrong) != 5 {
		t.Errorf("five are in it where etcd's clients are made, found: %q", wrong)
	}
}

func pastSeams(t *testing.T, name string, source any) (wrong []string) {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	in := path.Dir(strings.TrimPrefix(name, "../../"))
	note := func(at token.Pos, what string) {
		if may, is := seams[what]; is && !slices.Contains(may, in) {
			wrong = append(wrong, fmt.Sprintf("%s: %s is for %s alone: use what the options give",
				strings.TrimPrefix(files.Position(at).String(), "../../"), what, strings.Join(may, " and ")))
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			imported, _ := strconv.Unquote(n.Path.Value)
			note(n.Pos(), imported)
		case *ast.SelectorExpr:
			note(n.Pos(), dotted(n))
			note(n.Pos(), n.Sel.Name)
		}
		return true
	})
	return wrong
}

// dotted is an expression of names and calls without arguments as it is written; empty: it is another.
func dotted(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return dotted(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		if len(e.Args) == 0 {
			return dotted(e.Fun) + "()"
		}
	}
	return ""
}
