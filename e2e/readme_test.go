package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheReadmeNamesEveryFlagOfBerthd(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	help, err := l.Nodes[0].Berthd(t.Context(), "--help")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(readme(t), "### The agent: `berthd`")
	table, _, _ = strings.Cut(table, "###")
	flag := regexp.MustCompile(`--[a-z][a-z-]+`)
	_, list, _ := strings.Cut(help, "Flags:")
	var documented, existing []string
	for row := range strings.Lines(table) {
		if strings.HasPrefix(row, "| `--") {
			cell, _, _ := strings.Cut(row[1:], "|")
			documented = append(documented, flag.FindAllString(cell, -1)...)
		}
	}
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-") {
			existing = append(existing, flag.FindString(line))
		}
	}
	for _, name := range existing {
		if !slices.Contains(documented, name) && name != "--version" && name != "--help" {
			t.Errorf("berthd has %s, which the README does not name", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(existing, name) {
			t.Errorf("the README names %s, which berthd has not: it has %v", name, existing)
		}
	}
}

func TestTheReadmesSmallestFileIsTheExample(t *testing.T) {
	example, err := os.ReadFile("../deploy/examples/pool.yaml")
	if err != nil {
		t.Fatal(err)
	}
	says(t, readme(t), "```yaml\n"+string(example)+"```\n")
	if string(example) != onePool {
		t.Errorf("the tests' own pool differs from the example:\n%s", example)
	}
}

func TestEveryFileThatTheReadmeNamesIsThere(t *testing.T) {
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(readme(t), -1) {
		if _, err := os.Stat("../" + link[1]); err != nil {
			t.Error(err)
		}
	}
}
