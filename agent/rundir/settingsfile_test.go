package rundir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/node"
)

func TestASettingsFileThatWasChangedAfterTheStartIsReportedUntilTheNextStart(t *testing.T) {
	a := &Keeper{Node: node.New(node.Options{})}
	a.Findings = findings.New(func(findings.Finding, bool) {}, time.Now)
	a.settingsFile = filepath.Join(t.TempDir(), "berthd.env")
	then, err := a.stateOf(a.settingsFile) // there is none yet
	if err != nil {
		t.Fatal(err)
	}
	a.compareSettings(then)
	if all := a.Findings.List(); len(all) != 0 {
		t.Fatalf("nothing has changed, and it tells %v", all)
	}
	if err := os.WriteFile(a.settingsFile, []byte("BERTH_NODE=n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.compareSettings(then)
	if all := a.Findings.List(); len(all) != 1 || all[0].Kind != settingsChanged || !strings.Contains(all[0].Advice, "restart") {
		t.Errorf("it tells %v: want that the file was changed, and to restart", all)
	}
	if err := os.Remove(a.settingsFile); err != nil {
		t.Fatal(err)
	}
	a.compareSettings(then)
	if all := a.Findings.List(); len(all) != 0 {
		t.Errorf("the file is as it was, and it tells %v", all)
	}
}
