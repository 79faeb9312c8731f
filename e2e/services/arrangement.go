package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A mode is a way in which a pool's containers are connected.
type mode struct {
	name       string
	pool       string // further keys of the pool
	plugin     map[string]any
	gateways   bool // the switch is the pool's router
	alone      bool // containers of different nodes do not reach each other: they are all on the first
	masquerade bool // outside they have their node's address
}

var modes = []mode{
	{name: "flat with an uplink", plugin: map[string]any{"type": "berth", "uplink": lab.NIC}, gateways: true},
	{name: "flat without an uplink", plugin: map[string]any{"type": "berth", "ipMasq": true}, alone: true, masquerade: true},
	{name: "routed", pool: "    mode: routed\n    ipMasq: true\n", plugin: map[string]any{"type": "berth"}, masquerade: true},
}

// A family is what the pool has addresses of.
type family struct {
	name, cidrs, gateways string
	routers               []netip.Prefix
}

var families = []family{
	{"v4", "10.42.0.0/16", "10.42.0.1", []netip.Prefix{router4}},
	{"v6", "fd42::/64", "fd42::1", []netip.Prefix{router6}},
	{"both", "10.42.0.0/16,fd42::/64", "10.42.0.1,fd42::1", []netip.Prefix{router4, router6}},
}

var router4, router6 = netip.MustParsePrefix("10.42.0.1/16"), netip.MustParsePrefix("fd42::1/64")

// An arrangement is a cluster in which kube-proxy is tried.
type arrangement struct {
	mode
	family
	fencing string
}

// arrangements are all of them: strict fencing is tried with both families, which have the most rules.
func arrangements() (all []arrangement) {
	for _, m := range modes {
		for _, f := range families {
			all = append(all, arrangement{m, f, "evidence"})
		}
		all = append(all, arrangement{m, families[len(families)-1], "strict"})
	}
	return all
}

func (a arrangement) name() string {
	return fmt.Sprintf("%s, %s, fencing %s", a.mode.name, a.family.name, a.fencing)
}

func (a arrangement) named(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(a.name(), w) })
}

// configuration is what berthctl applies.
func (a arrangement) configuration() string {
	list := func(text string) string { return `["` + strings.ReplaceAll(text, ",", `", "`) + `"]` }
	text := "settings:\n  fencing: " + a.fencing + "\npools:\n  - name: default\n    cidrs: " + list(a.cidrs) + "\n" + a.pool
	if a.mode.pool == "" {
		text += "    gateways: " + list(a.family.gateways) + "\n"
	}
	return text
}

// options are what the lab is made of.
func (a arrangement) options(binaries string) lab.Options {
	o := lab.Options{Binaries: binaries, Nodes: 2, IPv6: true}
	if a.mode.gateways {
		o.Gateways = a.routers
	}
	return o
}

// network is what the runtimes are configured with: portmap follows for who wants a port of the host.
func (a arrangement) network(plugins string, hostPort int) *lab.Network {
	n := &lab.Network{Name: "berth", Version: "1.1.0", Plugins: []map[string]any{a.plugin}, Path: []string{plugins}}
	if hostPort != 0 {
		n.Plugins = append(n.Plugins, map[string]any{"type": "portmap", "snat": true, "runtimeConfig": map[string]any{
			"portMappings": []any{map[string]any{"hostPort": hostPort, "containerPort": port, "protocol": "tcp"}}}})
	}
	return n
}
