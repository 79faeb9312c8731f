package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

func TestEveryBrokenBuildHasAStoryThatFindsIt(t *testing.T) {
	switches, err := filepath.Glob(filepath.Join("..", "..", "internal", "broken", "*_on.go"))
	if err != nil || len(switches) != len(Profiles) {
		t.Fatalf("there are %d switches and %d profiles, error %v", len(switches), len(Profiles), err)
	}
	for _, file := range switches {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		name := strings.TrimPrefix(line, "//go:build ")
		if p, err := Named(name); err != nil || p.round == nil || p.Rounds == 0 {
			t.Errorf("%s: %q has the profile %+v, error %v", file, name, p, err)
		}
	}
}

func TestABrokenBuildIsCaughtOnlyByWhatItsStoryComesTo(t *testing.T) {
	for _, p := range Profiles {
		for _, rule := range []check.Rule{check.Unique, check.Kept, check.NotLost, check.Register, check.Agreed, check.Cleared} {
			wanted := false
			for _, r := range p.Finds {
				wanted = wanted || r == rule
			}
			_, caught := p.Caught(Verdict{Violations: []check.Violation{{Rule: rule}}})
			if caught != wanted {
				t.Errorf("a violation of %q counts as having caught %s: %v, want %v", rule, p.Name, caught, wanted)
			}
			// What is merely left over in records can have other causes, so it proves nothing of a guard.
			if caught && (rule == check.Agreed || rule == check.Cleared) {
				t.Errorf("%s counts as caught by %q", p.Name, rule)
			}
		}
	}
}
