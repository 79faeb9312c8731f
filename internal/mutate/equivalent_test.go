package mutate

import (
	"strings"
	"testing"
	"time"
)

const row = "internal/mutate/testdata/guarded/guarded.go: Half: guard never taken: n > 10\n\tif n > 10 {\n\tNobody has\n\tso many.\n"

func TestAMutantThatIsJudgedEquivalentIsNotTriedWhereverItsLineIs(t *testing.T) {
	known, err := parseEquivalents("# comment\n\n" + row)
	if err != nil {
		t.Fatal(err)
	}
	report, err := run(t.Context(), options(t, "guarded"), known, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Scores()[0]; s.Equivalent != 1 || s.Unreached != 6 || len(report.Stale) != 0 {
		t.Errorf("the score is %s, stale are %q, want one that is equivalent", s, report.Stale)
	}
	for _, o := range report.Outcomes {
		if o.Function == "Half" && o.Kind == Never && o.Equivalent != "Nobody has so many." {
			t.Errorf("the reason is %q", o.Equivalent)
		}
	}
}

func TestARowWithoutAMutantIsStale(t *testing.T) {
	known, err := parseEquivalents(strings.Replace(row, "Half", "Gone", 1))
	if err != nil {
		t.Fatal(err)
	}
	report, err := run(t.Context(), options(t, "guarded"), known, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Stale) != 1 || !strings.HasPrefix(report.Stale[0], "equivalent.txt:1: ") {
		t.Errorf("stale are %q, want the row of line 1", report.Stale)
	}
}

func TestARowThatIsNotCompleteIsNamed(t *testing.T) {
	for words, text := range map[string]string{
		"want FILE":  "a.go: f: guard never taken\n\tif x {\n\treason",
		"line 2: \"": "a.go: f: guard never taken: x\n\tif x {\n",
		"another":    row + "\n" + row,
	} {
		if _, err := parseEquivalents(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %s", text, err, words)
		}
	}
}

func TestEveryRowOfTheTreeIsAboutAMutant(t *testing.T) {
	t.Setenv("GOFLAGS", "-trimpath") // as make lint compiles, for the compiler's cache
	known, err := parseEquivalents(judged)
	if err != nil {
		t.Fatal(err)
	}
	var packages, patterns []string
	for _, r := range known.rows {
		pkg, _ := cutLast(r.file, "/")
		packages, patterns = append(packages, pkg), append(patterns, "./"+pkg)
	}
	if len(patterns) == 0 {
		return
	}
	sources, err := load(tree(t), patterns)
	if err != nil {
		t.Fatal(err)
	}
	_, mutants, err := overlay(t.TempDir(), sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range known.stale(packages, mutants) {
		t.Errorf("equivalent.txt:%d: there is no such mutant of %s any more: %s: %s", r.line, r.function, r.kind, r.detail)
	}
}
