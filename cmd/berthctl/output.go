package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A table is rows of cells under a header.
type table struct {
	header []string
	rows   [][]string
}

// print writes value as JSON or YAML, or what stands for it for people.
func (c *ctl) print(value any, people func(io.Writer) error) error {
	switch c.output.value {
	case "json":
		encoder := json.NewEncoder(c.out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "yaml":
		return writeYAML(c.out, value)
	}
	return people(c.out)
}

// write aligns the columns. An empty cell is a dash.
func (t table) write(w io.Writer) error {
	aligned := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(aligned, strings.Join(t.header, "\t"))
	for _, row := range t.rows {
		for i, cell := range row {
			if row[i] = visible(cell); cell == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(aligned, strings.Join(row, "\t"))
	}
	return aligned.Flush()
}

// visible escapes what would move a terminal's cursor, change its colours or break a line: words of the cluster come from
// whoever wrote them.
func visible(words string) string {
	if strings.IndexFunc(words, hidden) < 0 {
		return words
	}
	var out strings.Builder
	for _, r := range words {
		if hidden(r) {
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// writeYAML writes the same names and values in the same order as JSON has.
func writeYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	plain(&document)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

// plain takes JSON's brackets and quotes away.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}

// age is the time since then, in its two largest units: "3m12s", "4d2h".
func age(now, then time.Time) string {
	d := max(now.Sub(then), 0)
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// span is a duration without its zeros at the end: "10m" for "10m0s".
func span(d allocator.Duration) string { return zeros.ReplaceAllString(d.String(), "$1") }

var zeros = regexp.MustCompile(`([hm])(?:0m)?0s$`)

// join writes a list into one cell.
func join[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, item := range list {
		words[i] = item.String()
	}
	return strings.Join(words, ",")
}
