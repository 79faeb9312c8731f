package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheDocumentsNameEveryKeyArgumentAndAnnotation(t *testing.T) {
	manual, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "## The plugin: CNI configuration")
	section, _, _ = strings.Cut(section, "\n## ")
	first := func(pattern string) (found []string) {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(section, -1) {
			found = append(found, match[1])
		}
		return slices.Sorted(slices.Values(found))
	}
	var arguments []string
	for _, key := range argsKeys {
		arguments = append(arguments, "BERTH_"+strings.ToUpper(key))
	}
	for what, test := range map[string]struct{ documented, existing []string }{
		"keys":        {first("(?m)^\\| `([a-z][a-zA-Z]*)` \\|"), interfaceKeys},
		"arguments":   {first("(?m)^\\| `(BERTH_[A-Z]+)` \\|"), arguments},
		"annotations": {first("`berth\\.dev/([a-z]+)`"), annotationKeys},
	} {
		if want := slices.Sorted(slices.Values(test.existing)); !slices.Equal(test.documented, want) {
			t.Errorf("docs/configuration.md names the %s %v: want %v", what, test.documented, want)
		}
	}
}
