package routes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/netops"
)

// The kinds of findings.
const (
	notSet     = "routes-not-set"
	hopRefused = "route-refused"
	hopMissing = "node-address-missing"
)

// report sets and clears the findings about routes. k.setting is held.
func (k *Keeper) report(refused []netops.RefusedHop, failed error) {
	if failed != nil {
		k.host.Raise()
		k.Findings.Set(notSet, "routes", failed.Error(), "see the cause; it is tried again each second, and until then this node's containers "+
			"may not reach those of other nodes")
		return
	}
	k.Findings.Clear(notSet, "routes")
	k.reportRefused(refused)
	k.reportMissing()
}

func (k *Keeper) reportRefused(refused []netops.RefusedHop) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, r := range refused {
		node := k.known.nameAt(r.Hop)
		if r.OffLink {
			texts[node] = append(texts[node], fmt.Sprintf("no link of this node reaches %v, which is the address of node %s: its containers "+
				"in routed pools are not reached from here (%v)", r.Hop, node, r.Err))
			advice[node] = "nodes must share a layer-2 network where a pool's mode is routed: give the pool mode auto where they do not. " +
				"Is that node's --node-address right? See docs/routed.md"
			continue
		}
		texts[node] = append(texts[node], fmt.Sprintf("the kernel refuses the route to %v, which node %s has (%v)", r.To, node, r.Err))
		if advice[node] == "" {
			advice[node] = fmt.Sprintf("take away what is in its place: ip route show %v", r.To)
		}
	}
	for node, t := range texts {
		k.Findings.Set(hopRefused, node, strings.Join(t, "; "), advice[node])
	}
	k.Findings.Keep(hopRefused, slices.Collect(maps.Keys(texts))...)
}

func (k *Keeper) reportMissing() {
	families := map[name]map[string]bool{}
	for to, node := range k.missing {
		if families[node] == nil {
			families[node] = map[string]bool{}
		}
		family := "IPv6"
		if to.Addr().Is4() {
			family = "IPv4"
		}
		families[node][family] = true
	}
	var subjects []string
	for node, of := range families {
		subjects = append(subjects, node.Value())
		if node.Value() == k.Node {
			k.Findings.Set(hopMissing, k.Node, fmt.Sprintf("this node, %s, has no address of its own, from which a tunnel could begin: the "+
				"containers of other nodes in pools of the modes vxlan and auto are not reached from here, and do not reach those here", k.Node),
				"give this node an address where its default route leads, or its berthd --node-address")
			continue
		}
		k.Findings.Set(hopMissing, node.Value(),
			fmt.Sprintf("node %s has addresses of a pool, and there is no %s address by which it is reached: its containers are not reached "+
				"from here", node.Value(), strings.Join(slices.Sorted(maps.Keys(of)), " and no ")),
			"see that that node and this one have such an address where their default routes lead, or give their berthd --node-address; and "+
				"that that berthd is of this release")
	}
	k.Findings.Keep(hopMissing, subjects...)
}
