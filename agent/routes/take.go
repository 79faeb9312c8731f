package routes

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops"
)

// pools are the routed ones by name.
type pools map[string]routed

// A routed pool, as far as routes depend on it.
type routed struct {
	cidrs      []netip.Prefix
	masquerade bool
}

func (r routed) equal(s routed) bool {
	return r.masquerade == s.masquerade && slices.Equal(r.cidrs, s.cidrs)
}

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
			all[name] = routed{p.CIDRs, p.IPMasq}
		}
	}
	return all
}

// work is what the kernel's routes are to become.
type work struct {
	whole   bool
	routing netops.Routing              // whole
	hops    map[netip.Prefix]netops.Hop // else
	missing map[netip.Prefix]name       // those of the prefixes whose node has said no address
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
	w.routed = map[string]bool{}
	for _, pool := range slices.Sorted(maps.Keys(want)) {
		w.routed[pool] = true
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
	for _, hops := range w.hops {
		for _, a := range hops {
			todo.routing.Cluster = append(todo.routing.Cluster, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	maps.DeleteFunc(todo.hops, func(_ netip.Prefix, hop netops.Hop) bool { return !hop.IsValid() })
	todo.routing.Hops = todo.hops
}

// hopLocked adds where a prefix leads now; an invalid hop is nowhere.
func (w *known) hopLocked(pool string, to netip.Prefix, todo *work) {
	node, is := w.of(pool).nodeOf(to)
	if !is {
		todo.hops[to] = netops.Hop{}
		return
	}
	hop := netops.Hop{Via: w.hopOf(node, to)}
	if todo.hops[to] = hop; !hop.IsValid() {
		todo.missing[to] = node
	}
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
