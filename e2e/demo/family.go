package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A family is what the story is told with: IPv4, IPv6, or both at once.
type family struct {
	cidrs, stateful, gateways []netip.Prefix // gateways with the length of their CIDR
}

var families = map[string]family{
	"v4":   {prefixes("10.42.0.0/16"), prefixes("10.42.0.0/20"), prefixes("10.42.0.1/16")},
	"v6":   {prefixes("fd42::/64"), prefixes("fd42::/112"), prefixes("fd42::1/64")},
	"both": {prefixes("10.42.0.0/16", "fd42::/64"), prefixes("10.42.0.0/20", "fd42::/112"), prefixes("10.42.0.1/16", "fd42::1/64")},
}

// chosen is the family that the variable FAMILY names.
func chosen(name string) (family, error) {
	if name == "" {
		name = "v4"
	}
	f, ok := families[name]
	if !ok {
		return f, fmt.Errorf("FAMILY=%s: want v4, v6 or both", name)
	}
	return f, nil
}

func prefixes(text ...string) (all []netip.Prefix) {
	for _, t := range text {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// configuration is the file that berthctl applies.
func (f family) configuration() string {
	list := func(all []netip.Prefix, word func(netip.Prefix) string) string {
		var words []string
		for _, p := range all {
			if p.Addr().Is6() {
				words = append(words, `"`+word(p)+`"`) // a colon has a meaning in YAML
			} else {
				words = append(words, word(p))
			}
		}
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("pools:\n  - name: default\n    cidrs: [%s]\n    stateful: [%s]\n    gateways: [%s]\n",
		list(f.cidrs, netip.Prefix.String), list(f.stateful, netip.Prefix.String),
		list(f.gateways, func(p netip.Prefix) string { return p.Addr().String() }))
}

// isStateful reports whether all of a container's addresses lie in the stateful ranges; anyStateful whether one does.
func (f family) isStateful(c *lab.Container) bool { return f.count(c) == len(c.All) }

func (f family) anyStateful(c *lab.Container) bool { return f.count(c) > 0 }

func (f family) count(c *lab.Container) (n int) {
	for _, a := range c.All {
		for _, p := range f.stateful {
			if p.Contains(a) {
				n++
			}
		}
	}
	return n
}

// words are the addresses of a container.
func words(all []netip.Addr) string {
	var text []string
	for _, a := range all {
		text = append(text, a.String())
	}
	return strings.Join(text, " ")
}
