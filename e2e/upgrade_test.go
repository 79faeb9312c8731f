package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// formerPrograms in the environment is a directory with berth, berthd and berthctl of a former release. Where it is set, the
// cluster of that release is upgraded for real; what its journal, keys and frames look like is in testdata either way.
const formerPrograms = "BERTH_FORMER"

func TestAnUpgradeIsolatesAndLosesNothing(t *testing.T) {
	former := os.Getenv(formerPrograms)
	if former == "" {
		t.Skipf("%s names no directory with the programs of a former release", formerPrograms)
	}
	for _, mode := range []string{"evidence", "strict"} {
		t.Run(mode, func(t *testing.T) { upgrade(t, former, "settings:\n  fencing: "+mode+"\n"+onePool) })
	}
}

// programs links the programs of one release into a directory, from which nodes start theirs.
func programs(t *testing.T, dir, from string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(from, name), path); err != nil {
			t.Fatal(err)
		}
	}
}

func upgrade(t *testing.T, former, configuration string) {
	dir := t.TempDir()
	programs(t, dir, former, "berth", "berthd", "berthctl")
	l := labtest.New(t, lab.Options{Nodes: 3, Gateways: []netip.Prefix{gateway}, Binaries: dir}, configuration)
	var all []*lab.Container
	had := map[*lab.Container]netip.Addr{}
	start := func(c *lab.Container) { all = append(all, c); had[c] = add(t, c) }
	for i, n := range l.Nodes {
		for range 3 {
			start(container(t, n, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web"))
		}
		start(member(t, n, l, fmt.Sprint("db-", i)))
	}
	mine := func(what string) {
		t.Helper()
		for _, c := range all {
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("%s: CHECK of %s on %s: %v", what, c.ID, c.Node.Name, err)
			}
			if c != all[0] {
				reaches(t, all[0], had[c])
			}
		}
	}
	mine("before")

	for i, n := range l.Nodes {
		gone := container(t, n, l)
		add(t, gone)
		end := n.Stop
		if i == 1 {
			end = n.Kill
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		del(t, gone) // the plugin leaves a note
		programs(t, dir, binaries, "berthd")
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("%d of 3 nodes upgraded, the plugin not yet", i+1)
		mine(what)
		start(container(t, n, l))
		if text := n.Log(10_000); strings.Contains(text, "isolated a container") || strings.Contains(text, "the journal is lost") {
			t.Errorf("%s: the agent's log:\n%s", what, text)
		}
		if i < 2 { // the next node's agent is started anew only to be upgraded
			programs(t, dir, former, "berthd")
		}
	}
	programs(t, dir, binaries, "berth", "berthctl")
	mine("all is upgraded")
	for _, c := range all[3:4] { // a member moves to another node, with its address
		del(t, c)
		again := member(t, l.Nodes[1], l, "db-0")
		if got := add(t, again); got != had[c] {
			t.Errorf("the member had %v before the upgrade, and has %v", had[c], got)
		}
		del(t, again)
	}
	for _, c := range append(append([]*lab.Container{}, all[:3]...), all[4:]...) {
		del(t, c)
	}
	labtest.Eventually(t, "nothing is left", func() error {
		left, err := l.Census(t.Context())
		if lines := left.Left(); err == nil && len(lines) > 0 {
			err = fmt.Errorf("left are:\n%s", strings.Join(lines, "\n"))
		}
		return err
	})
}
