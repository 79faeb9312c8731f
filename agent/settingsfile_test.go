package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/findings"
)

func TestASettingsFileThatWasChangedAfterTheStartIsToldUntilTheNextStart(t *testing.T) {
	a := &Agent{findings: findings.New(func(findings.Finding, bool) {})}
	a.SettingsFile = filepath.Join(t.TempDir(), "berthd.env")
	then, err := stateOf(a.SettingsFile) // there is none yet
	check(t, err)
	a.compareSettings(then)
	if all := a.findings.List(); len(all) != 0 {
		t.Fatalf("nothing has changed, and it tells %v", all)
	}
	check(t, os.WriteFile(a.SettingsFile, []byte("BERTH_NODE=n2\n"), 0o600))
	a.compareSettings(then)
	if all := a.findings.List(); len(all) != 1 || all[0].Kind != settingsChanged || !strings.Contains(all[0].Advice, "restart") {
		t.Errorf("it tells %v: want that the file was changed, and to restart", all)
	}
	check(t, os.Remove(a.SettingsFile))
	a.compareSettings(then)
	if all := a.findings.List(); len(all) != 0 {
		t.Errorf("the file is as it was, and it tells %v", all)
	}
}
