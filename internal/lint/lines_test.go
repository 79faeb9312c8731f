package lint

import (
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

const widest = 140 // columns of a line, a tab counting as one

func TestLinesFitAScreen(t *testing.T) {
	for file := range allSources(t, func(string) bool { return true }) {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range wide(file, string(text)) {
			t.Error(wrong)
		}
	}
}

func TestTheRuleOfLinesCatchesAWideOne(t *testing.T) {
	fits, wider, data := strings.Repeat("a", widest), strings.Repeat("b", widest+1), "\t{`"+strings.Repeat("c", widest)+"`},"
	for _, test := range []struct {
		file string
		text []string
		want string
	}{
		{"a.go", []string{fits, wider, data}, "[a.go:2 a.go:3]"},
		{"a_test.go", []string{fits, wider, data}, "[a_test.go:2]"},
	} {
		var where []string
		for _, wrong := range wide(test.file, strings.Join(test.text, "\n")) {
			where = append(where, strings.SplitN(wrong, " ", 2)[0])
		}
		if fmt.Sprint(where) != test.want {
			t.Errorf("%s: found %v, want %s", test.file, where, test.want)
		}
	}
}

// wide are the lines that are too wide. In a test those of a text in backquotes may be: what others send is not to be broken.
func wide(file, text string) (wrong []string) {
	quoted := map[int]bool{}
	if strings.HasSuffix(file, "_test.go") {
		quoted = rawLines(text)
	}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if n := utf8.RuneCountInString(line); n > widest && !quoted[number] {
			wrong = append(wrong, fmt.Sprintf("%s:%d has %d columns: want at most %d", file, number, n, widest))
		}
	}
	return wrong
}

// rawLines are the numbers of the lines on which a text in backquotes stands.
func rawLines(text string) map[int]bool {
	lines := map[int]bool{}
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), nil, 0)
	for {
		at, kind, literal := s.Scan()
		if kind == token.EOF {
			return lines
		}
		if kind == token.STRING && literal[0] == '`' {
			for i := range strings.Count(literal, "\n") + 1 {
				lines[file.Line(at)+i] = true
			}
		}
	}
}
