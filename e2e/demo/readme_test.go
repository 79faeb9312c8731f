package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	numbers = regexp.MustCompile(`\d+(\.\d+)*`)
	spaces  = regexp.MustCompile(` +`)
)

// lines are those of a text without what differs from run to run: numbers, and the spaces that align columns around them.
func lines(text string) []string {
	return strings.Split(strings.TrimSpace(spaces.ReplaceAllString(numbers.ReplaceAllString(text, "#"), " ")), "\n")
}

func TestTheReadmeShowsSomeOfWhatTheDemoPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "This is some of what the demo prints:\n\n```\n")
	shown, _, there := strings.Cut(shown, "```\n")
	if !there {
		t.Fatal("the README has no block of code after the words: This is some of what the demo prints")
	}
	var out bytes.Buffer
	if code := demo(t.Context(), &out, families["v4"], binaries); code != 0 {
		t.Fatalf("the demo ends with %d:\n%s", code, out.String())
	}
	printed, some := lines(out.String()), lines(shown)
	if len(some) < 12 {
		t.Errorf("the README shows %d lines of the demo: want 12 at least", len(some))
	}
	for _, line := range some {
		i := slices.Index(printed, line)
		if i < 0 {
			t.Fatalf("the README shows, and the demo does not print after what the README shows before it: %s", line)
		}
		printed = printed[i+1:]
	}
}
