package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A family is what the story is told with: IPv4, IPv6, or both at once.
type family struct {
	cidrs, stateful, gateways []netip.Prefix // gateways with the length of their CIDR
	mode                      string         // of the pool; empty: flat
	apart                     int            // from this node on each is in a network of its own, behind a router; 0: none
}

var families = map[string]family{
	"v4": {cidrs: prefixes("10.42.0.0/16"), stateful: prefixes("10.42.0.0/20"), gateways: prefixes("10.42.0.1/16")},
	"v6": {cidrs: prefixes("fd42::/64"), stateful: prefixes("fd42::/112"), gateways: prefixes("fd42::1/64")},
	"both": {cidrs: prefixes("10.42.0.0/16", "fd42::/64"), stateful: prefixes("10.42.0.0/20", "fd42::/112"),
		gateways: prefixes("10.42.0.1/16", "fd42::1/64")},
}

// chosen is what the variables FAMILY and MODE name.
func chosen(name, mode string) (family, error) {
	f, ok := families[cmp.Or(name, "v4")]
	if !ok {
		return f, fmt.Errorf("FAMILY=%s: want v4, v6 or both", name)
	}
	switch mode {
	case "", "flat":
		return f, nil
	case "routed", "vxlan", "auto":
		return f.behind(mode), nil
	}
	return f, fmt.Errorf("MODE=%s: want flat, routed, vxlan or auto", mode)
}

// behind is the family with a pool whose containers are behind their nodes. In vxlan each node is behind a router, in auto the third.
func (f family) behind(mode string) family {
	f.mode, f.gateways = mode, nil
	f.apart = map[string]int{"vxlan": 1, "auto": 3}[mode]
	return f
}

// place says where the nodes are.
func (f family) place() string {
	switch f.apart {
	case 0:
		return "Three machines on one switch, and an etcd"
	case 1:
		return "Three machines, each in a network of its own behind a router, and an etcd"
	}
	return "Two machines on one switch, a third behind a router, and an etcd"
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
	pool := fmt.Sprintf("pools:\n  - name: default\n    cidrs: [%s]\n    stateful: [%s]\n",
		list(f.cidrs, netip.Prefix.String), list(f.stateful, netip.Prefix.String))
	if f.mode != "" {
		return pool + "    mode: " + f.mode + "\n    ipMasq: true\n"
	}
	return pool + fmt.Sprintf("    gateways: [%s]\n", list(f.gateways, func(p netip.Prefix) string { return p.Addr().String() }))
}

// network is what the containers' runtimes are configured with.
func (f family) network() *lab.Network {
	if f.mode != "" {
		return lab.Plain()
	}
	return lab.Berth()
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
