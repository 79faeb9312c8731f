// Package deploy holds what an installation needs. Its tests hold the files against the programs.
package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-ipam/berth/metrics"
)

func TestAlertsAreAboutSeriesThatTheAgentHas(t *testing.T) {
	rules, err := os.ReadFile("prometheus/berth.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bberth_[a-z_]+\b`).FindAllString(string(rules), -1)
	if len(named) == 0 {
		t.Fatal("the rules name no series")
	}
	known := series(t)
	for _, name := range named {
		if !slices.Contains(known, name) {
			t.Errorf("the rules name %s, which the agent does not have: it has %v", name, known)
		}
	}
}

// series names what the agent shows once everything that it counts has happened.
func series(t *testing.T) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m := metrics.New(registry, "test", func() metrics.Snapshot {
		return metrics.Snapshot{
			Pools:       []metrics.Pool{{Name: "default", Family: "v4", Addresses: map[string]int{"held": 1}}},
			Attachments: map[string]int{"stateless": 1},
			Rights:      map[string]time.Duration{"stateless": time.Hour},
			Findings:    map[string]int{"bridge-gone": 1},
		}
	})
	m.Request("ADD", 0, time.Millisecond)
	m.Allocated("stateless", "owned")
	m.Collected("link")
	m.Transaction("publish", time.Millisecond, true, os.ErrClosed)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	return names
}

func TestPrometheusAcceptsItsConfigurationAndTheAlertsFire(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not here: Prometheus' own view of the files is left out")
		return
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "berth.rules.yml"}, {"test", "rules", "berth.rules_test.yml"},
	} {
		command := exec.Command(promtool, args...)
		command.Dir = "prometheus"
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", command, err, output)
		}
	}
}

func TestTheDocumentsSayWhatToDoAboutEachAlert(t *testing.T) {
	rules, err := os.ReadFile("prometheus/berth.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) (all []string) {
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
		return all
	}
	alerts, rows := names(`alert: (\w+)`, string(rules)), names("(?m)^\\| `(Berth\\w+)` \\|", string(manual))
	if len(alerts) == 0 || !slices.Equal(alerts, rows) {
		t.Errorf("docs/operations.md has the alerts %v: want %v, in the order of the rules", rows, alerts)
	}
}
