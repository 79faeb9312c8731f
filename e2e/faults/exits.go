package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// exited remembers the last words of an agent that has ended though nobody ended it; starting says that it was not ready yet.
func (w *world) exited(h *host, starting bool) {
	log := h.Log(200)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exits = append(w.exits, exit{node: h.Name, at: w.now(), starting: starting, log: log})
}

// An exit is an agent's end that the plan did not order.
type exit struct {
	node     string
	at       time.Duration
	starting bool
	log      string // the end of it
}

// crashes are what Go's runtime and its race detector print when a program ends by a fault of its own.
var crashes = []string{"panic:", "fatal error:", "DATA RACE", "SIGSEGV"}

// crash is the line of the log that tells of a fault in the program, if there is one.
func (e exit) crash() string {
	for line := range strings.Lines(e.log) {
		if slices.ContainsFunc(crashes, func(word string) bool { return strings.Contains(line, word) }) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// ends gives a violation for each end of an agent that nothing explains: only one that cannot start since its disk is full
// may end, and tell so.
func ends(exits []exit, faults []check.Fault) (violations []check.Violation) {
	for _, e := range exits {
		full := slices.ContainsFunc(faults, func(f check.Fault) bool {
			return f.What == string(Disk) && f.Node == e.node && f.Begin <= e.at && e.at <= f.End+fullStart
		})
		if e.starting && full && e.crash() == "" {
			continue
		}
		lines := strings.Split(strings.TrimSpace(e.log), "\n")
		violations = append(violations, check.Violation{
			Rule: check.Ended, At: e.at, Evidence: lines[max(0, len(lines)-endLines):],
			What: fmt.Sprintf("the agent of %s ended, and nobody had ended it: %s", e.node, cmp.Or(e.crash(), lines[len(lines)-1])),
		})
	}
	return violations
}

const (
	fullStart = 3 * time.Second // a start that met a full disk may end so long after it was freed
	endLines  = 40              // of the log, to show
)
