package mutate

import (
	"fmt"
	"slices"
	"strings"
)

// Equivalents are the mutants of which somebody has found that no test can kill them: the program does the same.
type equivalents struct {
	rows    []equivalent
	reasons map[key]string
}

type equivalent struct {
	key
	reason string
	line   int
}

// parseEquivalents reads rows that blank lines part: FILE: FUNCTION: KIND: DETAIL, then the text of the line in the source, then
// the reason. Lines that begin with # are comments.
func parseEquivalents(text string) (equivalents, error) {
	all := equivalents{reasons: map[key]string{}}
	var row []string
	for i, line := range append(strings.Split(text, "\n"), "") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case line != "":
			row = append(row, line)
			continue
		case len(row) == 0:
			continue
		}
		e, err := parseEquivalent(row)
		if err != nil {
			return equivalents{}, fmt.Errorf("mutate: equivalents, row that ends in line %d: %w", i, err)
		}
		if _, twice := all.reasons[e.key]; twice {
			return equivalents{}, fmt.Errorf("mutate: equivalents, row that ends in line %d: there is another one for %s", i, row[0])
		}
		e.line = i + 1 - len(row)
		all.rows, all.reasons[e.key], row = append(all.rows, e), e.reason, nil
	}
	return all, nil
}

func parseEquivalent(row []string) (equivalent, error) {
	head := strings.SplitN(row[0], ": ", 4)
	if len(head) < 4 || len(row) < 3 {
		return equivalent{}, fmt.Errorf("%q: want FILE: FUNCTION: KIND: DETAIL, a line with the source's text, and a reason", row[0])
	}
	return equivalent{
		key:    key{file: head[0], function: head[1], kind: Kind(head[2]), detail: head[3], text: row[1]},
		reason: strings.Join(row[2:], " "),
	}, nil
}

// row is how a mutant is written in the file, but for the reason.
func (m Mutant) row() string {
	return fmt.Sprintf("%s: %s: %s: %s\n\t%s\n\t", m.File, m.Function, m.Kind, m.Detail, m.Text)
}

// stale are the rows about the packages for which there is no such mutant.
func (e equivalents) stale(packages []string, mutants []Mutant) (rows []equivalent) {
	found := map[key]bool{}
	for _, m := range mutants {
		found[m.key()] = true
	}
	for _, r := range e.rows {
		in, _ := cutLast(r.file, "/")
		if slices.Contains(packages, in) && !found[r.key] {
			rows = append(rows, r)
		}
	}
	return rows
}

func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+len(separator):]
}
