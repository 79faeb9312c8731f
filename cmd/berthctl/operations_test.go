package main

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/record"
)

// allows makes the settings allow the operations and no others.
func (l *lab) allows(operations string) answer {
	l.Helper()
	return l.ctl("apply", "-f", file(l.T, "settings: {operations: ["+operations+"]}")).exits(exitDone)
}

func TestEveryVerbPassesTheGateOfItsOperation(t *testing.T) {
	l := configured(t)
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	l.join("n1")
	reading := []string{
		"version", "version --node n1", "version --wait --timeout 1s", "show 10.42.0.17", "show shop/db/db-0",
		"get assignments", "get reservations", "get reservations 10.42.0.17",
	}
	for _, c := range []struct {
		off, on string
		lines   []string
	}{
		{"read", "insert, delete", reading},
		{"insert", "read, delete", []string{"reserve shop/db/db-1", "reserve shop/db/db-0", "connectivity --all"}},
		{"delete", "read, insert", []string{
			"release shop/db/db-0", "release shop/db/db-0 --force", "node remove n1 --force --yes", "connectivity --all",
		}},
	} {
		l.allows(c.on)
		for _, line := range c.lines {
			l.ctl(strings.Fields(line)...).exits(exitError).complains(`operation "`+c.off+`" is switched off`, "valid are "+c.on)
		}
	}
	if nodes, err := l.store.Nodes.Nodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("the nodes are %v, %v", nodes, err)
	}
	l.allows("read, insert, delete")
	l.ctl("get", "reservations").exits(exitDone).says("shop/db/db-0")
	if out := l.ctl("show", "shop/db/db-1"); out.code == exitDone {
		t.Error("what was refused has reserved an address")
	}
}

func TestNobodyLocksHimselfOutOfTheConfiguration(t *testing.T) {
	l := configured(t)
	l.allows("")
	for _, line := range []string{"get pools", "get settings", "get history", "get nodes", "get blocks", "status"} {
		l.ctl(strings.Fields(line)...).exits(exitDone)
	}
	l.ctl("status").exits(exitDone).says("no container is named")
	l.ctl("rollback", "1").exits(exitDone)
	l.ctl("get", "reservations").exits(exitDone)
	l.allows("")
	l.allows("read").says("new revision")
}

func TestAChangeSaysWhatItSwitchesOff(t *testing.T) {
	l := configured(t)
	l.allows("read").says("operation insert is switched off", "no container can start", "operation delete is switched off", "Terminating")
	if again := l.allows("read"); strings.Contains(again.out, "note") {
		t.Errorf("nothing is switched off, and it says %s", again.out)
	}
	quiet := l.allows("read, insert, delete")
	if strings.Contains(quiet.out, "note") {
		t.Errorf("what is switched on is warned of:\n%s", quiet.out)
	}
	l.ctl("rollback", "2", "--dry-run").exits(exitDone).says("operation delete is switched off")
	for operation := range withoutOperation {
		if err := record.DefaultSettings().Allow(operation); err != nil {
			t.Error(err)
		}
	}
}

func TestATimeToWaitThatIsNoneIsRefusedAsUsage(t *testing.T) {
	l := configured(t)
	for _, line := range []string{
		"version --wait --timeout -5s", "doctor --timeout 0s", "connectivity --timeout 0s", "remove pool default --drain --timeout -1m",
	} {
		l.ctl(strings.Fields(line)...).exits(exitUsage).complains("--timeout", "want a time greater than zero")
	}
	l.ctl("remove").exits(exitUsage).complains("want pool")
	l.ctl("version", "--app", "").exits(exitUsage).complains(`"app" is empty`)
	l.ctl("version", "--app", "a/b/c").exits(exitUsage).complains("NAMESPACE/APP")
	l.ctl("version", "--app", "shop/none").exits(exitError).complains("shop/none")
}
