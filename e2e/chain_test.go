package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

// chained is berth with another plugin of the CNI project after it.
func chained(next map[string]any) *lab.Network {
	network := lab.Plain()
	network.Path = []string{plugins}
	network.Plugins = append(network.Plugins, next)
	return network
}

func TestAnotherPluginCanFollowInTheChain(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	// A MAC that a plugin of the chain has given passes only in a pool that says so.
	const trusting = "  - name: trusting\n    cidrs: [10.43.0.0/16]\n    gateways: [10.43.0.1]\n    antiSpoof: false\n"
	l := makeLab(t, lab.Options{Alone: true}, onePool+trusting)
	node := l.Nodes[0]
	first := alone(t, l, lab.Plain())
	add(t, first)
	del(t, first)
	before, err := node.Links()
	if err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]map[string]any{
		"tuning a sysctl":  {"type": "tuning", "sysctl": map[string]any{"net.ipv4.conf.IFNAME.arp_filter": "1"}},
		"tuning the MAC":   {"type": "tuning", "mac": "c2:b0:57:49:47:f1"},
		"tuning the MTU":   {"type": "tuning", "mtu": 1400},
		"tuning its flags": {"type": "tuning", "promisc": true, "allmulti": true},
		"bandwidth":        {"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 8000000, "egressRate": 8000000, "egressBurst": 8000000},
		"portmap":          {"type": "portmap", "snat": true, "runtimeConfig": ports},
		"portmap by nft":   {"type": "portmap", "backend": "nftables", "runtimeConfig": ports},
	} {
		t.Run(name, func(t *testing.T) {
			if reason := lacking(name); reason != "" {
				t.Log("not tried: " + reason)
				return
			}
			network := chained(next)
			if next["mac"] != nil {
				network.Plugins[0]["pool"] = "trusting"
			}
			c, other := alone(t, l, network), alone(t, l, lab.Plain())
			add(t, other)
			result, err := c.Add(t.Context())
			if err != nil {
				t.Fatalf("ADD: %v", err)
			}
			if len(result.Interfaces) < 3 {
				t.Errorf("the chain's result has the interfaces %v: want the bridge, both ends", result.Interfaces)
			}
			reaches(t, other, c.Address)
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			del(t, c)
			del(t, other)
			holds(t, node, 0)
			if after, err := node.Links(); err != nil || !slices.Equal(before, after) {
				t.Errorf("the node has the links %v, error %v: want %v", after, err, before)
			}
		})
	}
}

// ports are what a runtime would ask for.
var ports = map[string]any{"portMappings": []any{map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}

// lacking says which program a plugin needs that is not here; empty: none.
func lacking(name string) string {
	program := map[string]string{"portmap": "iptables", "portmap by nft": "nft"}[name]
	if program == "" {
		return ""
	}
	if _, err := exec.LookPath(program); err != nil {
		return strings.Fields(name)[0] + " calls " + program + ": " + err.Error()
	}
	return ""
}
