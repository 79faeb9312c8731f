package mutate

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Report is what came out.
type Report struct {
	Outcomes []*Outcome
	Failing  []string // tests that fail without a mutant, and are not asked
	Stale    []string // rows of equivalent.txt
}

// A Score counts what became of a package's mutants.
type Score struct {
	Package                                                string
	Killed, Late, Survived, Unreached, Equivalent, Untried int // those who were late were killed, too
}

// Percent is the share of those killed among all that were tried or that no test reaches.
func (s Score) Percent() float64 {
	all := s.Killed + s.Survived + s.Unreached
	if all == 0 {
		return 100
	}
	return 100 * float64(s.Killed) / float64(all)
}

func (s Score) String() string {
	text := fmt.Sprintf("%-20s %5.1f %%  %d killed (%d of them by a time-out), %d survived, %d reached by no test, %d equivalent",
		s.Package, s.Percent(), s.Killed, s.Late, s.Survived, s.Unreached, s.Equivalent)
	if s.Untried > 0 {
		text += fmt.Sprintf(", %d not tried for lack of time", s.Untried)
	}
	return text
}

// Alive reports whether nothing has noticed the mutant.
func (o *Outcome) Alive() bool { return !o.Killed && !o.Untried && o.Equivalent == "" }

func (o *Outcome) fate() string {
	tests := o.Survived
	switch {
	case o.Reached == 0:
		return "no test reaches it with a value that it would change"
	case len(tests) > shown:
		tests = append(slices.Clone(tests[:shown]), "…")
	}
	return fmt.Sprintf("survives %d of the %d tests that it concerns: %s", len(o.Survived), o.Reached, strings.Join(tests, " "))
}

// shown is how many names of tests a row has at most.
const shown = 6

// Scores are those of the packages, in the order of the outcomes.
func (r *Report) Scores() (scores []Score) {
	for _, o := range r.Outcomes {
		i := slices.IndexFunc(scores, func(s Score) bool { return s.Package == o.Package })
		if i < 0 {
			i, scores = len(scores), append(scores, Score{Package: o.Package})
		}
		s := &scores[i]
		switch {
		case o.Equivalent != "":
			s.Equivalent++
		case o.Untried:
			s.Untried++
		case o.Killed:
			s.Killed++
			if o.Late {
				s.Late++
			}
		case o.Reached == 0:
			s.Unreached++
		default:
			s.Survived++
		}
	}
	return scores
}

// Write writes the table of survivors and the scores.
func (r *Report) Write(w io.Writer) {
	for _, o := range r.Outcomes {
		if o.Alive() {
			fmt.Fprintf(w, "%s\n    %s\n    %s\n", o.Mutant, o.Text, o.fate())
		}
	}
	for _, f := range r.Failing {
		fmt.Fprintf(w, "not asked, for it fails without a mutant: %s\n", f)
	}
	for _, s := range r.Scores() {
		fmt.Fprintln(w, s)
	}
	for _, s := range r.Stale {
		fmt.Fprintf(w, "stale, there is no such mutant any more: %s\n", s)
	}
}

// WriteRows writes the survivors as rows of equivalent.txt, but for their reasons.
func (r *Report) WriteRows(w io.Writer) {
	for _, o := range r.Outcomes {
		if o.Alive() {
			fmt.Fprintf(w, "%s\n\n", o.row())
		}
	}
}
