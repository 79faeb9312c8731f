package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/etcdtest"
)

func TestAnUnknownWordGetsASuggestion(t *testing.T) {
	l := newLab(t)
	for line, want := range map[string]string{
		"aply":                          `did you mean "apply"?`,
		"get pool":                      `did you mean "pools"?`,
		"get weather":                   "want one of",
		"get":                           "pools, reservations, settings",
		"remove pol":                    `did you mean "pool"?`,
		"get pools --outptu json":       "did you mean --output?",
		"get pools -o jsno":             `did you mean "json"?`,
		"get pools a b":                 "at most one NAME",
		"get settings a":                "takes no words",
		"apply":                         `"file"`,
		"apply pools.yaml":              "takes no words",
		"show":                          "an ADDRESS",
		"show a/b/c/d":                  "NAMESPACE/APP/MEMBER",
		"reserve shop/db":               "want NAMESPACE/APP/MEMBER",
		"reserve shop/db/db-0 shop/x/y": "a NAMESPACE/APP/MEMBER",
		"reserve shop//db-0":            "app is missing",
		"reserve shop/db/ä":             "member",
		"reserve a/b/c --interface a/b": "interface name",
		"reserve a/b/c --network a/b":   "network",
		"insert a --interface eth%d":    `--interface "eth%d"`,
		"insert a --bridge br%d":        `--bridge "br%d"`,
		"insert a --uplink all":         `--uplink "all"`,
		"reserve a/b/c --address 10.0":  "want an address",
		"release":                       "NAMESPACE/APP/MEMBER",
		"node":                          "remove",
		"node remov n1":                 `did you mean "remove"?`,
		"node remove":                   "the name of a NODE",
		"node remove a/b":               `node "a/b"`,
		"node remove stateful --force":  "no node's to allocate",
		"doctor n1":                     "takes no words",
		"completion bahs":               `did you mean "bash"?`,
	} {
		l.ctl(strings.Fields(line)...).exits(exitUsage).complains(want, "--help")
	}
}

func TestAWrongVariableIsNamed(t *testing.T) {
	t.Setenv("BERTH_OUTPUT", "jsno")
	newLab(t).ctl("get", "pools").exits(exitUsage).complains("BERTH_OUTPUT", `did you mean "json"?`)
}

func TestAVariableStandsInForAFlag(t *testing.T) {
	t.Setenv("BERTH_RUN_DIR", etcdtest.RunDir)
	t.Setenv("BERTH_ETCD_PREFIX", newLab(t).prefix)
	t.Setenv("BERTH_OUTPUT", "json")
	execute(t, strings.NewReader(smallest), "apply", "-f", "-").exits(exitDone).says(`"changed": true`)
	execute(t, nil, "get", "pools").exits(exitDone).says(`"name": "default"`)
}

func TestEveryCommandExplainsItselfWithAnExample(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, "berthctl") {
			t.Errorf("%s has short help %q, long help %q, example %q", cmd.CommandPath(), cmd.Short, cmd.Long, cmd.Example)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(new(ctl).root())
	execute(t, nil, "get", "--help").exits(exitDone).says("Examples:", "berthctl get pools", "BERTH_ETCD_ENDPOINTS")
	execute(t, nil).exits(exitDone).says("Usage:")
	execute(t, nil, "--version").exits(exitDone).says(version)
}

func TestTheShellCompletesWordsAndLiveNames(t *testing.T) {
	l := configured(t)
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	l.join("n1")
	for line, want := range map[string]string{
		"node remove ":           "n1",
		"get ":                   "reservations",
		"get pools ":             "default",
		"remove pool ":           "default",
		"reserve a/b/c --pool ":  "default",
		"release ":               "shop/db/db-0",
		"show ":                  "shop/db/db-0",
		"get pools --output ":    "yaml",
		"completion ":            "zsh",
		"get history ":           "1",
		"get reservations 10.42": "10.42.",
	} {
		answer := l.ctl(append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if answer.code != exitDone {
			t.Errorf("completion of %q: exit code %d", line, answer.code)
		}
		answer.says(want)
	}
	execute(t, nil, "completion", "bash").exits(exitDone).says("berthctl")
}

func TestAnEtcdThatIsNotThereIsNamed(t *testing.T) {
	dir := t.TempDir()
	execute(t, nil, "--run-dir", dir, "status").exits(exitError).
		complains(filepath.Join(dir, "etcd.sock"), "no such file", "berthd", "--run-dir")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + listener.Addr().String()
	listener.Close()
	execute(t, nil, "--etcd-endpoints", closed, "get", "pools").exits(exitError).
		complains(closed, "refused", "--etcd-endpoints")
}

func TestAnEndpointThatCanNeverBeIsRefusedInWordsAndNotTried(t *testing.T) {
	execute(t, nil, "--etcd-endpoints", "http://etcd", "get", "pools").exits(exitError).complains(`endpoint "http://etcd"`, "http://HOST:PORT")
}

func TestAnEtcdThatAcceptsAndIsSilentIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out, diagnostics bytes.Buffer
	silent := "http://" + listener.Addr().String()
	code := run(ctx, []string{"--etcd-endpoints", silent, "status"}, nil, &out, &diagnostics)
	answer{t, "berthctl status", code, out.String(), diagnostics.String()}.exits(exitError).
		complains(silent, "does not answer", "--etcd-endpoints")
}

func TestTheDocumentsNameEveryCommand(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(manual), "## The operator's tool: `berthctl`\n\n")
	rows, _, ended := strings.Cut(section, "\n\n")
	if !found || !ended {
		t.Fatal("docs/operations.md has no table of berthctl's commands")
	}
	root := new(ctl).root()
	paths, documented := map[string]bool{}, map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if paths[cmd.CommandPath()] = true; cmd.HasSubCommands() {
			delete(paths, cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	delete(paths, "berthctl help")
	command := regexp.MustCompile(`^[a-z]+( [a-z]+)*`)
	for row := range strings.Lines(rows) {
		cell := strings.Split(row, "|")[1]
		if !strings.Contains(cell, "`") {
			continue // the header
		}
		quoted := strings.Split(cell, "`")
		for i := 1; i < len(quoted); i += 2 {
			name := command.FindString(quoted[i])
			group, _, _ := strings.Cut(quoted[1], " ")
			switch path := "berthctl " + name; {
			case name == "": // a word that stands for others
			case paths[path]:
				documented[path] = true
			case paths["berthctl "+group+" "+name]:
				documented["berthctl "+group+" "+name] = true
			default:
				t.Errorf("docs/operations.md names %q, which berthctl has not", quoted[i])
			}
		}
		for _, flag := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(row, -1) {
			if found, _, err := root.Find(strings.Fields(quoted[1])); err != nil || found.Flags().Lookup(flag[1]) == nil {
				t.Errorf("docs/operations.md gives %q the flag --%s, which it has not", quoted[1], flag[1])
			}
		}
	}
	for path := range paths {
		if !documented[path] {
			t.Errorf("docs/operations.md's table lacks %q", path)
		}
	}
}
