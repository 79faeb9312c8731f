package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"
)

// A Story is a run in words: a text file in the txtar format. What comes before the first file is for people, the file "cluster"
// says what the cluster is like, one word and its value a line, and the file "plan" has the steps.
type Story struct {
	Text    string
	Options Options // without what a machine gives: directory and logs
	Plan    Plan
}

// ParseStory reads a story.
func ParseStory(text []byte) (Story, error) {
	archive := txtar.Parse(text)
	s := Story{Text: strings.TrimSpace(string(archive.Comment)), Options: Options{Nodes: 3}}
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "cluster":
			err = s.Options.parse(string(f.Data))
		case "plan":
			s.Plan, err = ParsePlan(string(f.Data))
		default:
			err = fmt.Errorf("want the files cluster and plan")
		}
		if err != nil {
			return s, fmt.Errorf("story: %s: %w", f.Name, err)
		}
	}
	return s, nil
}

func (o *Options) parse(text string) (err error) {
	for line := range strings.Lines(text) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "":
		case word == "nodes":
			o.Nodes, err = strconv.Atoi(value)
		case word == "seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		case word == "mode" && (value == "strict" || value == "evidence"):
			o.Strict = value == "strict"
		case word == "families" && (value == "1" || value == "2"):
			o.Dual = value == "2"
		default:
			err = fmt.Errorf("%q: want nodes, seed, families 1 or 2, or mode strict or evidence", strings.TrimSpace(line))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Format is the story as ParseStory reads it.
func (s Story) Format() []byte {
	mode := "evidence"
	if s.Options.Strict {
		mode = "strict"
	}
	families := 1
	if s.Options.Dual {
		families = 2
	}
	return txtar.Format(&txtar.Archive{Comment: []byte(s.Text + "\n"), Files: []txtar.File{
		{Name: "cluster", Data: fmt.Appendf(nil, "nodes %d\nmode %s\nfamilies %d\nseed %d\n", s.Options.Nodes, mode, families,
			s.Options.Seed)},
		{Name: "plan", Data: []byte(s.Plan.String())},
	}})
}

// about are the steps at places that words name, and those at none.
func (p Plan) about(words string) (of Plan) {
	for _, s := range p {
		if s.Place == "" || slices.ContainsFunc(strings.Split(s.Place, ","), func(name string) bool { return strings.Contains(words, name) }) {
			of = append(of, s)
		}
	}
	return of
}

// Shrink takes steps out of a plan for as long as fails says that what is left fails, for at most so many tries.
func Shrink(p Plan, tries int, fails func(Plan) bool) Plan {
	for size := (len(p) + 1) / 2; size > 0 && tries > 0; {
		shorter := false
		for from := 0; from < len(p) && tries > 0; {
			rest := append(append(Plan{}, p[:from]...), p[min(from+size, len(p)):]...)
			if tries--; fails(rest) {
				p, shorter = rest, true
				continue
			}
			from += size
		}
		if !shorter || size > len(p) {
			size /= 2
		}
	}
	return p
}
