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

func TestTheReadmeShowsWhatTheDemoPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "This is what it prints:\n\n```\n")
	shown, _, there := strings.Cut(shown, "```\n")
	if !there {
		t.Fatal("the README has no block of code after the words: This is what it prints")
	}
	var out bytes.Buffer
	if code := demo(t.Context(), &out, families["v4"], binaries); code != 0 {
		t.Fatalf("the demo ends with %d:\n%s", code, out.String())
	}
	want, got := lines(out.String()), lines(shown)
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("the README lacks, or shows otherwise: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("the README shows, and the demo does not print: %s", line)
		}
	}
	if !t.Failed() && !slices.Equal(want, got) {
		t.Error("the README shows the demo's lines in another order")
	}
}
