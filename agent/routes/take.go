package routes

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"unique"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops"
)

// pools are those whose containers are behind their nodes, by name.
type pools map[string]routed

// A routed pool, as far as routes depend on it.
type routed struct {
	cidrs      []netip.Prefix
	masquerade bool
	way        netops.Way
}

func (r routed) equal(s routed) bool {
	return r.masquerade == s.masquerade && r.way == s.way && slices.Equal(r.cidrs, s.cidrs)
}

// ways are how the nodes reach each other's containers, by the pool's mode.
var ways = map[allocator.Mode]netops.Way{allocator.Routed: netops.Direct, allocator.VXLAN: netops.Tunnel, allocator.Auto: netops.Nearest}

// cidrsOf are those of all pools: what masquerades keeps its address on its way there.
func cidrsOf(c *config.Config) (all []netip.Prefix) {
	for _, p := range c.Pools {
		all = append(all, p.CIDRs...)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

func poolsOf(c *config.Config) pools {
	all := pools{}
	for name, p := range c.Pools {
		if p.Layer3() {
			all[name] = routed{p.CIDRs, p.IPMasq, ways[p.Mode]}
		}
	}
	return all
}

// work is what the kernel's routes are to become.
type work struct {
	whole   bool
	routing netops.Routing              // whole
	hops    map[netip.Prefix]netops.Hop // else
	missing map[netip.Prefix]name       // those of the prefixes that lead nowhere, with the node that lacks an address
}

// compare has all routes compared with the kernel's.
func (w *known) compare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}

// take is what there is to do; false: what the routes depend on is not known, and they stay.
func (w *known) take(want pools, anew bool) (todo work, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told != [kinds]bool{true, true, true} {
		return todo, false
	}
	todo = work{whole: w.whole || anew, hops: map[netip.Prefix]netops.Hop{}, missing: map[netip.Prefix]name{}}
	if todo.whole {
		w.wholeLocked(want, &todo)
	} else {
		for s := range w.changed {
			w.hopLocked(s.pool, s.to, &todo)
		}
	}
	w.whole, w.changed = false, map[spot]bool{}
	return todo, true
}

func (w *known) wholeLocked(want pools, todo *work) {
	w.ways, todo.routing.Ways = map[string]netops.Way{}, map[netip.Prefix]netops.Way{}
	for _, pool := range slices.Sorted(maps.Keys(want)) {
		w.ways[pool] = want[pool].way
		for _, cidr := range want[pool].cidrs {
			todo.routing.Ways[cidr] = want[pool].way
		}
		todo.routing.Pools = append(todo.routing.Pools, want[pool].cidrs...)
		if want[pool].masquerade {
			todo.routing.Masquerade = append(todo.routing.Masquerade, want[pool].cidrs...)
		}
		h := w.of(pool)
		for to := range h.parts {
			w.hopLocked(pool, to, todo)
		}
		for a := range h.holders {
			w.hopLocked(pool, netip.PrefixFrom(a, a.BitLen()), todo)
		}
	}
	for _, node := range slices.SortedFunc(maps.Keys(w.hops), func(a, b name) int { return cmp.Compare(a.Value(), b.Value()) }) {
		hops := w.hops[node]
		todo.routing.Nodes = append(todo.routing.Nodes, hops)
		for _, a := range hops {
			todo.routing.Cluster = append(todo.routing.Cluster, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	maps.DeleteFunc(todo.hops, func(_ netip.Prefix, hop netops.Hop) bool { return !hop.IsValid() })
	todo.routing.Hops, todo.routing.Locals = todo.hops, w.own
}

// hopLocked adds where a prefix leads now; an invalid hop is nowhere.
func (w *known) hopLocked(pool string, to netip.Prefix, todo *work) {
	node, is := w.of(pool).nodeOf(to)
	if !is {
		todo.hops[to] = netops.Hop{}
		return
	}
	hop := w.hopOf(node, to, w.ways[pool])
	if todo.hops[to] = hop; hop.IsValid() {
		return
	}
	switch lacks := w.lacking(node, w.ways[pool]); {
	case lacks.Value() != w.me:
		todo.missing[to] = node
	case w.read: // else its addresses are not known yet
		todo.missing[to] = lacks
	}
}

// lacking is the node by whose lack of an address another one is not reached: this one, where it has none from which a tunnel could begin.
func (w *known) lacking(node name, way netops.Way) name {
	if way != netops.Direct && len(w.own) == 0 && len(w.hops[node]) > 0 {
		return unique.Make(w.me)
	}
	return node
}

// nameAt is the node that has said an address.
func (w *known) nameAt(hop netip.Addr) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for node, hops := range w.hops {
		if slices.Contains(hops, hop) {
			return node.Value()
		}
	}
	return hop.String()
}
