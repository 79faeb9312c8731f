// Package lint holds the rules of the source tree that no other tool knows, as tests.
package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/berth-ipam/berth/"

// A rule says what the files of a package may import besides the standard library. Tests may import what they like.
type rule struct {
	ours   []string // packages of this module
	others []string // prefixes of import paths of other modules; "*" is any
}

var (
	cni      = "github.com/containernetworking/cni/pkg/"
	etcd     = []string{"go.etcd.io/etcd/client/", "go.etcd.io/etcd/api/", "google.golang.org/grpc", "go.uber.org/zap"}
	embed    = []string{"go.etcd.io/etcd/server/", "go.etcd.io/etcd/client/", "go.etcd.io/etcd/api/", "go.uber.org/zap"}
	kernel   = []string{"github.com/vishvananda/", "github.com/google/nftables", "golang.org/x/sys/"}
	prom     = []string{"github.com/prometheus/"}
	cobra    = []string{"github.com/spf13/"}
	yaml     = []string{"go.yaml.in/yaml/"}
	anything = []string{"*"}
)

// Imports go one way: a package may import those to its right in ARCHITECTURE.md's picture, which this table is.
var rules = map[string]rule{
	"allocator":         {},
	"allocator/ipam":    {},
	"internal/wire":     {},
	"client":            {ours: []string{"internal/clock", "internal/wire"}},
	"internal/clock":    {},
	"internal/random":   {},
	"internal/overlay":  {},
	"internal/disk":     {others: []string{"golang.org/x/sys/"}},
	"internal/dump":     {others: []string{"github.com/vishvananda/"}},
	"internal/etcdtest": {ours: []string{"lease/embedded", "internal/sandbox"}, others: etcd},
	"internal/flags":    {ours: []string{"lease/kv"}, others: cobra},
	"internal/manifest": {ours: []string{"allocator", "client", "lease/config", "lease/record", "internal/ifname", "internal/nearest"},
		others: yaml},
	"internal/ifname":        {},
	"internal/nearest":       {},
	"internal/sandbox":       {others: []string{"golang.org/x/sys/"}},
	"internal/lockorder":     {ours: []string{"internal/task"}},
	"internal/task":          {others: []string{"golang.org/x/sync/"}},
	"internal/mutate":        {ours: []string{"internal/mutate/mutant"}},
	"internal/mutate/mutant": {},
	"internal/mutate/run":    {ours: []string{"internal/mutate"}},
	"lease": {
		ours: []string{"lease/admin", "lease/block", "lease/config", "lease/kv", "lease/reservation", "lease/rollout", "lease/session"},
	},
	"lease/check": {
		ours: []string{"lease/kv", "lease/record", "lease/session", "allocator", "internal/task"}, others: etcd,
	},
	"lease/kv":      {ours: []string{"allocator", "internal/clock", "internal/lockorder", "internal/random", "internal/task"}, others: etcd},
	"lease/record":  {ours: []string{"lease/kv", "allocator", "allocator/ipam"}, others: etcd},
	"lease/session": {ours: []string{"lease/kv", "lease/record", "allocator", "internal/task"}, others: etcd},
	"lease/block":   {ours: []string{"lease/kv", "lease/record", "lease/session", "allocator"}, others: etcd},
	"lease/reservation": {
		ours:   []string{"lease/kv", "lease/record", "lease/session", "allocator", "allocator/ipam"},
		others: etcd,
	},
	"lease/config": {ours: []string{"lease/kv", "lease/record", "allocator", "internal/task"}, others: etcd},
	"lease/rollout": {
		ours: []string{"lease/block", "lease/config", "lease/kv", "lease/record", "lease/session", "allocator", "allocator/ipam",
			"internal/task"},
		others: etcd,
	},
	"lease/admin": {
		ours:   []string{"lease/config", "lease/kv", "lease/record", "lease/session", "allocator", "allocator/ipam", "internal/task"},
		others: etcd,
	},
	"lease/doctor":   {ours: []string{"lease", "lease/admin", "lease/kv", "lease/record", "allocator", "allocator/ipam", "internal/task"}},
	"lease/embedded": {others: embed},
	"lease/model":    {},
	"lease/model/trace": {
		ours: []string{"lease/kv", "lease/model", "lease/record", "allocator", "allocator/ipam"}, others: etcd,
	},
	"lease/lab": {
		ours: []string{"lease", "lease/block", "lease/config", "lease/embedded", "lease/kv", "lease/record", "lease/reservation",
			"lease/rollout", "lease/session", "allocator", "internal/etcdtest", "internal/random", "e2e/sim/chance", "e2e/sim/etcd"},
		others: etcd,
	},
	"netops": {
		ours:   []string{"internal/random", "internal/task", "netops/echo", "netops/fence", "netops/l2", "netops/rtnl", "netops/sysctl"},
		others: []string{"golang.org/x/sys/", "github.com/google/nftables"},
	},
	"netops/rtnl":  {others: []string{"golang.org/x/sys/", "github.com/vishvananda/netlink/"}},
	"netops/echo":  {ours: []string{"netops/rtnl"}, others: []string{"golang.org/x/sys/"}},
	"netops/fence": {ours: []string{"netops/rtnl"}, others: []string{"golang.org/x/sys/", "github.com/google/nftables"}},
	"netops/l2": {
		ours:   []string{"netops/rtnl"},
		others: []string{"golang.org/x/sys/", "golang.org/x/net/bpf", "github.com/vishvananda/netlink"},
	},
	"netops/hold":    {ours: []string{"netops/rtnl"}, others: []string{"golang.org/x/sys/", "github.com/vishvananda/netlink/"}},
	"netops/sysctl":  {},
	"netops/nettest": {ours: []string{"internal/sandbox"}, others: kernel},
	"metrics":        {others: prom},
	"agent": {
		ours: []string{"agent/addresses", "agent/apart", "agent/attach", "agent/backlog", "agent/caretaker", "agent/conflict",
			"agent/connectivity", "agent/findings", "agent/host",
			"agent/isolation", "agent/journal", "agent/machine", "agent/member", "agent/node", "agent/publish", "agent/report",
			"agent/routes", "agent/rundir", "agent/server", "agent/transfers", "agent/update", "lease", "lease/kv", "internal/wire", "metrics",
			"netops"},
		others: slices.Concat(prom, []string{"go.uber.org/zap", "golang.org/x/sync/"}),
	},
	"agent/host/bridges": {ours: []string{"internal/lockorder", "netops"}},
	"agent/exclusive":    {others: []string{"golang.org/x/sys/"}},
	"agent/findings":     {ours: []string{"internal/lockorder", "lease/record"}},
	"agent/journal":      {ours: []string{"internal/disk", "internal/lockorder", "allocator", "allocator/ipam"}},
	"agent/host": {
		ours: []string{"internal/lockorder", "agent/host/bridges", "agent/findings", "agent/journal", "agent/plan",
			"netops", "lease/config", "allocator",
			"internal/task"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/routes": {
		ours: []string{"internal/lockorder", "agent/findings", "agent/node", "allocator", "netops", "lease/config", "lease/kv",
			"lease/record", "internal/task"},
	},
	"agent/apart": {
		ours: []string{"internal/lockorder", "agent/findings", "agent/node", "allocator", "netops", "lease/config", "lease/kv", "lease/record",
			"internal/task"},
	},
	"agent/plan": {ours: []string{"agent/journal", "allocator", "netops"}},
	"agent/node": {
		ours: []string{"internal/lockorder", "agent/findings", "agent/journal", "lease", "lease/config", "lease/kv",
			"lease/record", "lease/session", "allocator",
			"allocator/ipam", "internal/clock", "internal/disk", "internal/random", "internal/task", "internal/wire", "metrics", "netops"},
		others: []string{"go.uber.org/zap", "golang.org/x/sync/"},
	},
	"agent/isolation": {
		ours:   []string{"internal/lockorder", "agent/journal", "agent/node", "agent/plan", "allocator", "allocator/ipam", "netops"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/backlog": {
		ours: []string{"internal/lockorder", "allocator/ipam", "internal/task"},
	},
	"agent/addresses": {
		ours: []string{"internal/lockorder", "agent/backlog", "agent/isolation", "agent/journal", "agent/node",
			"lease/block", "lease/config", "lease/kv",
			"lease/record", "lease/session", "allocator", "allocator/ipam", "internal/task", "internal/wire"},
		others: []string{"go.uber.org/zap", "golang.org/x/sync/"},
	},
	"agent/conflict": {
		ours: []string{"internal/lockorder", "agent/addresses", "agent/node", "lease/config", "lease/record",
			"allocator", "internal/wire"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/transfers": {
		ours: []string{"internal/lockorder", "agent/addresses", "agent/backlog", "agent/node", "lease/block",
			"lease/config", "lease/kv", "lease/record",
			"lease/session", "allocator", "internal/task", "internal/wire"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/machine": {
		ours: []string{"agent/addresses", "agent/node", "agent/transfers", "lease/block", "lease/config", "lease/record", "lease/session",
			"allocator", "allocator/ipam", "internal/task"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/publish": {
		ours: []string{"internal/lockorder", "agent/addresses", "agent/backlog", "agent/isolation", "agent/journal",
			"agent/node", "lease/block", "lease/kv",
			"lease/record", "lease/reservation", "lease/rollout", "allocator", "allocator/ipam", "internal/task"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/update": {
		ours: []string{"agent/apart", "internal/lockorder", "agent/backlog", "agent/host", "agent/journal", "agent/node",
			"agent/plan", "lease/config", "lease/kv", "lease/record",
			"allocator", "internal/task", "internal/wire", "netops"},
		others: []string{"go.uber.org/zap", "golang.org/x/sync/"},
	},
	"agent/member": {
		ours: []string{"internal/lockorder", "agent/addresses", "agent/backlog", "agent/findings", "agent/isolation",
			"agent/journal", "agent/node", "agent/plan", "agent/publish",
			"lease/config", "lease/kv", "lease/record", "lease/reservation", "lease/session", "allocator", "allocator/ipam",
			"internal/task", "internal/wire", "netops"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/attach": {
		ours: []string{"agent/addresses", "agent/apart", "agent/backlog", "agent/conflict", "agent/host", "agent/host/bridges",
			"agent/isolation",
			"agent/journal", "agent/machine", "agent/member", "agent/node", "agent/plan", "agent/publish", "agent/routes", "agent/update",
			"lease/config", "lease/record", "lease/reservation", "lease/session", "allocator", "internal/ifname",
			"internal/task", "internal/wire", "netops"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/report": {
		ours: []string{"internal/lockorder", "agent/addresses", "agent/attach", "agent/backlog", "agent/node",
			"agent/update", "lease/admin", "lease/record",
			"lease/rollout", "lease/session", "allocator", "internal/task", "internal/wire", "metrics"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/connectivity": {
		ours: []string{"agent/attach", "agent/node", "lease/check", "lease/record", "allocator", "internal/task", "internal/wire",
			"netops/echo"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/caretaker": {
		ours:   []string{"agent/node", "lease/admin", "lease/config", "lease/record", "lease/reservation", "allocator", "internal/task"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/rundir": {
		ours:   []string{"agent/isolation", "agent/node", "agent/server", "internal/disk", "internal/task"},
		others: []string{"go.uber.org/zap"},
	},
	"agent/server": {
		ours:   []string{"agent/findings", "lease/rollout", "allocator", "internal/disk", "internal/task", "internal/wire"},
		others: []string{"go.uber.org/zap"},
	},
	"cmd/berth": {
		ours:   []string{"internal/clock", "internal/disk", "internal/wire", "internal/ifname", "internal/nearest"},
		others: []string{cni, "golang.org/x/sys/"},
	},
	"cmd/berthd": {
		ours: []string{"agent", "agent/exclusive", "agent/server", "metrics", "netops", "netops/hold", "lease/kv", "lease/record",
			"lease/embedded",
			"allocator", "internal/wire", "internal/flags"},
		others: slices.Concat(cobra, prom, []string{"go.uber.org/zap", "golang.org/x/"}),
	},
	"cmd/berthctl": {
		ours: []string{"agent/exclusive", "client", "lease", "lease/admin", "lease/check", "lease/config", "lease/kv", "lease/record",
			"lease/reservation", "lease/rollout", "lease/doctor", "allocator", "internal/wire", "internal/flags",
			"internal/manifest", "internal/nearest", "internal/ifname", "netops", "netops/hold"},
		others: slices.Concat(cobra, yaml, etcd),
	},
	"bench": {ours: []string{"e2e/lab", "lease/embedded", "lease", "allocator", "internal/sandbox", "internal/wire"},
		others: anything},
	"e2e/lab":         {ours: []string{"internal/dump", "internal/sandbox"}, others: anything},
	"e2e/lab/labtest": {ours: []string{"e2e/lab"}, others: anything},
	"e2e/conformance": {ours: []string{"internal/dump", "internal/sandbox", "e2e/lab"}, others: anything},
	"e2e/demo":        {ours: []string{"e2e/lab"}, others: anything},
	"e2e/faults": {ours: []string{"internal/dump", "e2e/faults/check", "e2e/faults/watch", "e2e/lab", "internal/sandbox"},
		others: anything},
	"e2e/faults/broken": {ours: []string{"internal/overlay"}, others: []string{"golang.org/x/tools/txtar"}},
	"e2e/faults/run":    {ours: []string{"e2e/faults", "e2e/faults/broken", "e2e/lab"}, others: anything},
	"e2e/faults/check":  {others: []string{"github.com/anishathalye/porcupine"}},
	"e2e/faults/watch":  {ours: []string{"e2e/faults/check", "internal/sandbox"}, others: anything},
	"e2e/runtimes":      {ours: []string{"e2e/lab", "e2e/target", "internal/sandbox"}, others: anything},
	"e2e/services":      {ours: []string{"e2e/lab", "e2e/target", "internal/sandbox"}},
	"e2e/target":        {},
	"e2e/systemd":       {others: []string{"golang.org/x/sys/"}},
	"e2e/soak":          {ours: []string{"e2e/lab"}, others: anything},
	"e2e/sim": {
		ours: []string{"agent", "agent/node", "agent/server", "allocator", "e2e/sim/chance", "e2e/sim/disk", "e2e/sim/etcd", "e2e/sim/kernel",
			"e2e/sim/order", "internal/clock", "internal/random", "internal/wire", "lease", "lease/admin", "lease/config",
			"lease/doctor", "lease/kv", "lease/model/trace", "lease/record", "lease/reservation", "lease/rollout", "netops"},
		others: []string{"go.etcd.io/etcd/client/", "go.uber.org/zap", "golang.org/x/sys/", "golang.org/x/tools/txtar"},
	},
	"e2e/sim/chance":        {},
	"e2e/sim/order":         {},
	"e2e/sim/order/changes": {ours: []string{"internal/overlay"}},
	"e2e/sim/order/overlay": {ours: []string{"e2e/sim/order/changes"}},
	"e2e/sim/disk":          {ours: []string{"internal/disk"}},
	"e2e/sim/etcd": {ours: []string{"e2e/sim/chance", "lease/kv"},
		others: []string{"go.etcd.io/", "go.uber.org/zap", "google.golang.org/grpc"}},
	"e2e/sim/kernel": {ours: []string{"agent", "netops", "netops/echo", "netops/l2", "netops/rtnl"}, others: []string{"golang.org/x/sys/"}},
}

func TestImportsGoOneWay(t *testing.T) {
	seen := map[string]bool{}
	for file, imports := range sources(t) {
		pkg := path.Dir(file)
		seen[pkg] = true
		allowed, known := rules[pkg]
		if !known {
			t.Errorf("%s: package %s has no row in the import rules: add one, and a row to ARCHITECTURE.md", file, pkg)
			continue
		}
		for _, imported := range imports {
			if !allowed.permits(pkg, imported) {
				t.Errorf("%s imports %s: package %s may not", file, imported, pkg)
			}
		}
	}
	for pkg := range rules {
		if !seen[pkg] {
			t.Errorf("the import rules have a row for %s, which does not exist", pkg)
		}
	}
}

func TestTheImportRulesCatchAWrongWay(t *testing.T) {
	wrong := map[string]string{
		"allocator":     "go.etcd.io/etcd/client/v3",
		"lease":         module + "agent",
		"internal/wire": "golang.org/x/sys/unix",
		"cmd/berth":     module + "lease",
		"cmd/berthctl":  module + "lease/embedded",
		"netops":        module + "lease",
		"netops/rtnl":   module + "netops/fence",
	}
	for pkg, imported := range wrong {
		if rules[pkg].permits(pkg, imported) {
			t.Errorf("package %s may import %s: the rules let a wrong way through", pkg, imported)
		}
	}
}

func (r rule) permits(pkg, imported string) bool {
	if own, ok := strings.CutPrefix(imported, module); ok {
		return slices.Contains(r.ours, own)
	}
	standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
	return standard || slices.ContainsFunc(r.others, func(p string) bool { return p == "*" || strings.HasPrefix(imported, p) })
}

// sources gives the imports of every Go file that is not a test, by its path from the module's root.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	return allSources(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
}

// allSources gives the imports of every Go file whose name is wanted, by its path from the module's root.
func allSources(t *testing.T, wanted func(name string) bool) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(root, name)
		if entry.IsDir() && relative != "." && foreign(name, entry.Name()) {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" || !wanted(name) {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(relative)] = nil
		for _, spec := range parsed.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			files[filepath.ToSlash(relative)] = append(files[filepath.ToSlash(relative)], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// foreign reports whether a directory has no source of this module: it is hidden, built, or another module.
func foreign(path, name string) bool {
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil || strings.HasPrefix(name, ".") || name == "testdata" || name == "bin"
}
