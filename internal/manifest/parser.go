package manifest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/internal/nearest"
)

// A parser collects everything that is wrong with a file.
type parser struct {
	name     string
	errs     []error
	draining map[string]bool // of the pools that say so
}

// fields are the keys of a mapping, and what reads the value of each.
type fields map[string]func(*yaml.Node)

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...)))
}

// mapping reads a mapping whose keys are all known and there once. A key without a value counts as absent.
func (p *parser) mapping(n *yaml.Node, what string, known fields) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s: want keys with values, not %s", what, kind(n))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		read, ok := known[key.Value]
		switch first := lines[key.Value]; {
		case !ok:
			p.fail(key, "%s: unknown key %q: %s", what, key.Value, nearest.Hint(key.Value, slices.Sorted(maps.Keys(known))))
		case first != 0:
			p.fail(key, "%s: key %q is there twice, first in line %d", what, key.Value, first)
		case !isNull(value):
			read(value)
		}
		lines[key.Value] = key.Line
	}
}

// items gives the members of a list; each says what one is.
func (p *parser) items(n *yaml.Node, what, each string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "%s: want a list, each of it %s, not %s", what, each, kind(n))
		return nil
	}
	return n.Content
}

// A form is how people write a T.
type form[T any] struct {
	words string
	parse func(string) (T, error)
}

var (
	word          = form[string]{"a word", func(s string) (string, error) { return s, nil }}
	interfaceName = form[string]{"the name of an interface such as eth0",
		func(s string) (string, error) { return s, ifname.Validate("name", s) }}
	number    = form[int]{"a whole number", strconv.Atoi}
	vxlanID   = form[uint32]{"a whole number from 1 to 16777215", positive[uint32](24)}
	udpPort   = form[uint16]{"a port from 1 to 65535", positive[uint16](16)}
	truth     = form[bool]{"true or false", strconv.ParseBool}
	address   = form[netip.Addr]{"an address such as 10.42.0.1", netip.ParseAddr}
	prefix    = form[netip.Prefix]{"a CIDR such as 10.42.0.0/16", netip.ParsePrefix}
	addresses = form[allocator.Range]{"an address, two with '-' between, or a CIDR", func(s string) (allocator.Range, error) {
		var r allocator.Range
		err := r.UnmarshalText([]byte(s))
		return r, err
	}}
	mode = form[allocator.Mode]{allocator.SomeMode(), func(s string) (m allocator.Mode, err error) {
		if !slices.Contains(allocator.Modes(), s) {
			return m, errors.New(nearest.Hint(s, allocator.Modes()))
		}
		return m, m.UnmarshalText([]byte(s))
	}}
	duration = form[allocator.Duration]{"a duration such as 30s, 10m or 1h30m", func(s string) (allocator.Duration, error) {
		d, err := time.ParseDuration(s)
		return allocator.Duration(d), err
	}}
)

// positive reads a number of some bits that is not 0.
func positive[T uint16 | uint32](bits int) func(string) (T, error) {
	return func(s string) (T, error) {
		n, err := strconv.ParseUint(s, 10, bits)
		if err == nil && n == 0 {
			err = strconv.ErrRange
		}
		return T(n), err
	}
}

// one reads a single value.
func one[T any](p *parser, what string, to *T, f form[T]) func(*yaml.Node) {
	return func(n *yaml.Node) {
		n = resolve(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			p.fail(n, "%s: want %s, not %s", what, f.words, kind(n))
			return
		}
		value, err := f.parse(n.Value)
		if err != nil {
			p.fail(n, "%s %q: want %s (%s)", what, n.Value, f.words, cause(err))
			return
		}
		*to = value
	}
}

// maybe reads a single value whose absence is another one.
func maybe[T any](p *parser, what string, to **T, f form[T]) func(*yaml.Node) {
	return func(n *yaml.Node) {
		*to = new(T)
		one(p, what, *to, f)(n)
	}
}

// list reads a list of values.
func list[T any](p *parser, what string, to *[]T, f form[T]) func(*yaml.Node) {
	return func(n *yaml.Node) {
		items := p.items(n, what, f.words)
		*to = make([]T, len(items))
		for i, item := range items {
			one(p, what, &(*to)[i], f)(item)
		}
	}
}

// What the standard library's parsers say before the cause, such as `ParseAddr("10.42.0.300"): `.
var preamble = regexp.MustCompile(`^.*"\)?: |^time: `)

func cause(err error) string { return preamble.ReplaceAllString(err.Error(), "") }

// resolve follows a YAML alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isEmpty reports whether a document says nothing.
func isEmpty(n *yaml.Node) bool {
	return isNull(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kind is a word for what stands where something else was wanted.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

// culprit is the key of a mapping that an error speaks of, such as gateways in "pool \"lab\": gateways: ..."; the mapping
// itself where it names none.
func culprit(mapping *yaml.Node, err error) *yaml.Node {
	words := quoted.ReplaceAllString(err.Error(), "")
	best, at := resolve(mapping), len(words)
	for i := 0; i+1 < len(resolve(mapping).Content); i += 2 {
		key := resolve(mapping).Content[i]
		for _, form := range []string{key.Value, strings.TrimSuffix(key.Value, "s")} { // one of the gateways is "gateway 10.42.0.1"
			place := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(form) + `\b`).FindStringIndex(words)
			if place != nil && place[0] < at && key.Value != "name" {
				best, at = key, place[0]
			}
		}
	}
	return best
}

var quoted = regexp.MustCompile(`"[^"]*"`)
