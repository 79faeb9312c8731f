package deploy

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// unit reads a systemd unit (systemd.syntax(7)), without continued lines: values by section and key.
func unit(t *testing.T, path string) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]map[string]string{}
	var section string
	for number, line := range strings.Split(string(text), "\n") {
		key, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = line
			sections[section] = map[string]string{}
		case !assigned || section == "" || strings.TrimSpace(key) != key:
			t.Errorf("%s:%d: %q is neither a section nor a key", path, number+1, line)
		default:
			sections[section][key] = value
		}
	}
	return sections
}

func TestTheUnitKeepsTheJournalOverARestart(t *testing.T) {
	service := unit(t, "systemd/berthd.service")["[Service]"]
	for key, want := range map[string]string{
		"Type": "notify", "RuntimeDirectory": "berth", "RuntimeDirectoryPreserve": "yes", "StateDirectory": "berth", "Restart": "always",
		"EnvironmentFile": "-/etc/berth/berthd.env", "ExecStart": "/usr/local/bin/berthd",
	} {
		if service[key] != want {
			t.Errorf("%s=%s: want %s", key, service[key], want)
		}
	}
}

func TestTheUnitHasNoMisspeltKey(t *testing.T) {
	known := map[string]string{
		"[Unit]": "Description Documentation Wants After Before",
		"[Service]": "Type Environment EnvironmentFile ExecStart Restart RestartSec RuntimeDirectory RuntimeDirectoryMode " +
			"RuntimeDirectoryPreserve " +
			"StateDirectory StateDirectoryMode UMask LimitNOFILE OOMScoreAdjust CapabilityBoundingSet NoNewPrivileges ProtectSystem " +
			"ProtectHome PrivateTmp ProtectClock ProtectControlGroups ProtectKernelLogs ProtectHostname LockPersonality " +
			"MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID RestrictNamespaces RestrictAddressFamilies SystemCallArchitectures",
		"[Install]": "WantedBy",
	}
	for section, keys := range unit(t, "systemd/berthd.service") {
		for key := range keys {
			if !slices.Contains(strings.Fields(known[section]), key) {
				t.Errorf("%s in %s is no key that systemd is known to have", key, section)
			}
		}
	}
}
