package faults

import (
	"testing"

	"github.com/berth-ipam/berth/e2e/faults/broken"
	"github.com/berth-ipam/berth/e2e/faults/check"
)

func TestEveryBrokenBuildHasAStoryThatFindsIt(t *testing.T) {
	if len(broken.Builds) != len(Profiles) {
		t.Fatalf("there are %d broken builds and %d profiles", len(broken.Builds), len(Profiles))
	}
	for _, b := range broken.Builds {
		if p, err := Named(b.Name); err != nil || p.round == nil || p.Rounds == 0 {
			t.Errorf("%s has the profile %+v, error %v", b.Name, p, err)
		}
	}
}

func TestABrokenBuildIsCaughtOnlyByWhatItsStoryComesTo(t *testing.T) {
	for _, p := range Profiles {
		for _, rule := range []check.Rule{check.Unique, check.Kept, check.NotLost, check.Register, check.Led, check.Agreed, check.Cleared} {
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
