// Package mutate asks of every guard in the code whether a test fails without it. It changes the source in one place at a time: a
// guard that is never taken, a call that is skipped, an error that is swallowed, a bound that is off by one. All these mutants are
// compiled into one test binary, by go build -overlay and the functions of package mutant, and are chosen by a number in the
// environment. A mutant that no test kills wants a test, or less code, or a row in equivalent.txt that says why none can.
package mutate

import (
	"fmt"
)

// A Kind is what a mutation does.
type Kind string

// The kinds of mutations.
const (
	Never    Kind = "guard never taken"
	Always   Kind = "guard always taken"
	Operand  Kind = "operand dropped"
	Ignored  Kind = "error ignored"        // the branch for an error is not taken
	NoError  Kind = "nil instead of error" // returned
	Skipped  Kind = "call skipped"
	Compare  Kind = "compare dropped" // of a transaction
	Write    Kind = "write dropped"   // of a transaction
	Bound    Kind = "bound moved"     // < and <=, > and >=
	Doubled  Kind = "time doubled"
	Halved   Kind = "time halved"
	Returned Kind = "returned at once" // from a function
)

// A Mutant is one mutation of the source.
type Mutant struct {
	Number   int // from 1
	Package  string
	File     string // in the tree
	Line     int
	Function string
	Text     string // of the line, for people and to find it again when lines move
	Kind     Kind
	Detail   string // what in the line
}

// Where is the mutant's place, for people.
func (m Mutant) Where() string { return fmt.Sprintf("%s:%d", m.File, m.Line) }

func (m Mutant) String() string {
	return fmt.Sprintf("%s  %s  %s: %s", m.Where(), m.Function, m.Kind, m.Detail)
}

// key is what is the same of a mutant when lines move.
func (m Mutant) key() key { return key{m.File, m.Function, m.Kind, m.Detail, m.Text} }

type key struct {
	file, function string
	kind           Kind
	detail, text   string
}

// oneLine is a text without breaks, cut where it gets long.
func oneLine(text []byte) string {
	line := make([]byte, 0, len(text))
	space := false
	for _, c := range text {
		if c == ' ' || c == '\t' || c == '\n' {
			space = true
			continue
		}
		if space && len(line) > 0 {
			line = append(line, ' ')
		}
		space = false
		line = append(line, c)
	}
	if len(line) > longest {
		return string(line[:longest]) + "…"
	}
	return string(line)
}

const longest = 100
