package agent

import (
	"net/http"
	"strings"
	"testing"
)

func TestAFindingIsShownByTheNodesStatusUntilItEnds(t *testing.T) {
	r := newRig(t)
	shown := func() (subjects []string) {
		statuses, err := r.store.Rollout.Statuses(t.Context())
		check(t, err)
		for _, f := range statuses[r.agent.Name].Findings {
			if f.Kind == "test-kind" {
				subjects = append(subjects, f.Subject)
			}
		}
		return subjects
	}
	r.agent.Findings.Set("test-kind", "berth0", "somebody deleted it", "nothing: it is made anew")
	r.until("the status shows it", func() bool { return strings.Join(shown(), " ") == "berth0" })
	r.agent.Findings.Clear("test-kind", "berth0")
	r.until("the status shows it no more", func() bool { return len(shown()) == 0 })
}

func TestReadyzNamesWhatIsWrongAndStaysReady(t *testing.T) {
	r := newRig(t)
	r.agent.Findings.Set("test-kind", "berth0", "somebody deleted it", "nothing: it is made anew")
	if code, body := r.readyz(); code != http.StatusOK ||
		!strings.Contains(body, "test-kind berth0: somebody deleted it; nothing: it is made anew") {
		t.Errorf("/readyz answers %d %q, want 200 with the finding and what to do", code, body)
	}
}
