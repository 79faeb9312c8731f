// Package nearest finds the known word that an unknown one was probably meant to be.
package nearest

import (
	"fmt"
	"strings"
)

// Hint is the end of an error about an unknown word: the known word that is meant in all likelihood, or else all of
// them.
func Hint(word string, known []string) string {
	if meant, ok := Word(word, known); ok {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	if len(known) == 0 {
		return "there are none"
	}
	if len(known) == 1 {
		return "want " + known[0]
	}
	return "want one of " + strings.Join(known, ", ")
}

// Word is the known word that is closest to word, if one is close. Upper and lower case are the same to it, and a
// word that was begun but not ended is close.
func Word(word string, known []string) (string, bool) {
	word = strings.ToLower(word)
	limit := min(len(word)/2, 3)
	best, found := "", false
	for _, candidate := range known {
		lower := strings.ToLower(candidate)
		d := distance(word, lower)
		if len(word) > 1 && strings.HasPrefix(lower, word) {
			d = min(d, 1)
		}
		if d <= limit {
			best, found, limit = candidate, true, d-1
		}
	}
	return best, found
}

// distance counts the letters to insert, delete, change or swap with their neighbour (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
