package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A telling prints the story and keeps count of what it claims.
type telling struct {
	out    io.Writer
	begin  time.Time
	acts   int
	held   int
	broken []string
}

func newTelling(out io.Writer) *telling { return &telling{out: out, begin: time.Now()} }

// act begins a part of the story.
func (t *telling) act(title string) {
	t.acts++
	fmt.Fprintf(t.out, "\n%d. %s\n", t.acts, title)
}

func (t *telling) say(format string, args ...any) { fmt.Fprintf(t.out, "   "+format+"\n", args...) }

// claim prints what holds when err is nil, and else what does not.
func (t *telling) claim(err error, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if err == nil {
		t.held++
		fmt.Fprintln(t.out, "   ok  ", text)
		return
	}
	t.broken = append(t.broken, text)
	fmt.Fprintf(t.out, "   NOT  %s: %v\n", text, err)
}

// quote prints what a program printed.
func (t *telling) quote(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintln(t.out, strings.TrimRight("   | "+line, " \n"))
	}
}

// table prints rows whose cells are parted by tabs, in columns.
func (t *telling) table(rows ...string) {
	w := tabwriter.NewWriter(t.out, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "   "+row)
	}
	w.Flush()
}

// end prints the sum and gives the exit code. An error is what kept the story from its end.
func (t *telling) end(err error) int {
	took := time.Since(t.begin).Seconds()
	fmt.Fprintln(t.out)
	if err != nil {
		fmt.Fprintf(t.out, "broken off after %.1f s: %v\n", took, err)
		return 1
	}
	for _, claim := range t.broken {
		fmt.Fprintln(t.out, "does not hold:", claim)
	}
	fmt.Fprintf(t.out, "%d of %d claims hold, in %.1f s\n", t.held, t.held+len(t.broken), took)
	return min(len(t.broken), 1)
}
