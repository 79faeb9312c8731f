package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDocumentsNameEveryFlagOfBerthd(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	help, err := l.Nodes[0].Berthd(t.Context(), "--help")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(document(t, "docs/configuration.md"), "## The agent: `berthd`")
	table, _, _ = strings.Cut(table, "##")
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
			t.Errorf("berthd has %s, which docs/configuration.md does not name", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(existing, name) {
			t.Errorf("docs/configuration.md names %s, which berthd has not: it has %v", name, existing)
		}
	}
}

func TestTheSmallestConfigurationIsTheExample(t *testing.T) {
	example, err := os.ReadFile("../deploy/examples/pool.yaml")
	if err != nil {
		t.Fatal(err)
	}
	says(t, document(t, "docs/configuration.md"), "```yaml\n"+string(example)+"```\n")
	if string(example) != onePool {
		t.Errorf("the tests' own pool differs from the example:\n%s", example)
	}
}

func TestEveryFileThatADocumentNamesIsThere(t *testing.T) {
	documents, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../docs/*.md")
	if err != nil || len(more) == 0 {
		t.Fatalf("docs/ has %d documents, error %v", len(more), err)
	}
	for _, name := range slices.Concat(documents, more) {
		text := document(t, strings.TrimPrefix(name, "../"))
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
