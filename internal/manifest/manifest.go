// Package manifest reads the files that people write: the configuration of the cluster, and sets of containers. They
// are YAML, or JSON, which YAML includes.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// A Manifest is what a file says. A pool that the file does not name stays as it is, and so do the settings; of a pool
// that it names, and of the settings, a key that is absent means its default; but without the key draining a pool goes on
// as it is.
type Manifest struct {
	Pools    []allocator.Pool // valid each, in the order of the file
	Settings *record.Settings // valid; nil: the file says nothing of them
	draining map[string]bool  // the pools of which the file says whether they are
}

// Parse reads a file. The error holds all that is wrong with it, a line each, which begins with name and the line's
// number.
func Parse(name string, data []byte) (*Manifest, error) {
	document, err := read(name, data)
	if err != nil {
		return nil, err
	}
	p, m := &parser{name: name}, new(Manifest)
	p.mapping(document, "the file", fields{
		"pools":    func(n *yaml.Node) { m.Pools = p.pools(n) },
		"settings": func(n *yaml.Node) { m.Settings = p.settings(n) },
	})
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	m.draining = p.draining
	return m, nil
}

// SaysDraining reports whether the file says of a pool if it is draining.
func (m *Manifest) SaysDraining(pool string) bool { _, says := m.draining[pool]; return says }

// On is base with what the file says put over it. Base stays as it is. A pool of which the file does not say whether it is
// draining goes on as it is.
func (m *Manifest) On(base *config.Config) *config.Config {
	next := base.Clone()
	if next.Pools == nil {
		next.Pools = make(map[string]allocator.Pool, len(m.Pools))
	}
	for _, pool := range m.Pools {
		if !m.SaysDraining(pool.Name) {
			pool.Draining = base.Pools[pool.Name].Draining
		}
		pool.Former = base.Pools[pool.Name].Former
		next.Pools[pool.Name] = pool
	}
	if m.Settings != nil {
		next.Settings, next.Unsettled = *m.Settings, false
	}
	return next
}

// The way in which the YAML library words a fault of syntax.
var syntaxFault = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// read gives the one document of a file.
func read(name string, data []byte) (*yaml.Node, error) {
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&document)
	if err == nil && len(document.Content) == 1 && !isEmpty(document.Content[0]) {
		if err = decoder.Decode(&second); err == nil {
			return nil, fmt.Errorf("%s:%d: a second document begins: want one alone", name, second.Line)
		}
		if errors.Is(err, io.EOF) {
			return document.Content[0], nil
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty: want a key with a value", name)
	}
	words := plainly(err.Error(), data)
	fault := syntaxFault.FindStringSubmatch(words)
	switch {
	case fault == nil:
		return nil, fmt.Errorf("%s:%d: %s", name, faultLine(data), words)
	case fault[1] == "":
		return nil, fmt.Errorf("%s:%d: %s", name, faultLine(data), words[len(fault[0]):])
	}
	return nil, fmt.Errorf("%s:%s: %s", name, fault[1], words[len(fault[0]):])
}

// plainly adds to the library's words what would be right, where they speak of the bytes and not of the file.
func plainly(words string, data []byte) string {
	switch {
	case strings.Contains(words, "cannot start any token") && tabs.Match(data):
		return words + ": a line begins with a tab: want spaces"
	case strings.Contains(words, "UTF-8"), strings.Contains(words, "UTF-16"):
		return words + ": want a file of UTF-8 text"
	}
	return words
}

var tabs = regexp.MustCompile(`(?m)^ *\t`)

// faultLine is where the library finds a fault whose line it does not say: at the first character that YAML does not allow
// (YAML 1.2.2, section 5.1), or else at the end of the file, which stops too early.
func faultLine(data []byte) int {
	line := 1
	for i, r := range string(data) {
		broken := r == utf8.RuneError && data[i] != "\uFFFD"[0]
		if broken || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff {
			return line
		}
		if r == '\n' && i < len(data)-1 {
			line++
		}
	}
	return line
}
