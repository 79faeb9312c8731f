package netops

import (
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// What the monitor hears is told once between two comparisons, since each puts all in order.

// changed is called by the monitor: a link, or its addresses, are not as they were; index 0: any may have changed. It reports whether
// that concerns routes, and is the first such change since the last comparison.
func (t *routing) changed(index int) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.put) == 0 && len(t.links) == 0 || index != 0 && !t.links[index] {
		return false
	}
	return t.newsLocked()
}

// addressed is called by the monitor: a link has got or lost an address. It reports what changed does, where a hop's way may depend on it.
func (t *routing) addressed() (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nearest && t.newsLocked()
}

// neighbourGone is called by the monitor: a neighbour or a forwarding entry of a link has ended.
func (t *routing) neighbourGone(n rtnl.Neighbour, index int) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.devices {
		if d.index == index && (d.nodes[n.Address] || d.inside[n.Address]) {
			return t.newsLocked()
		}
	}
	return false
}

// ruleGone is called by the monitor.
func (t *routing) ruleGone(r rtnl.OwnRule) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.rules, r) && t.newsLocked()
}

// gone is called by the monitor: a route has ended. It reports what changed does, where that route was to stay.
func (t *routing) gone(o rtnl.OwnRoute) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, there := t.put[keyOf(o)]
	return there && held.Via == o.Via && t.newsLocked()
}

func (t *routing) newsLocked() bool {
	news := !t.reported
	t.reported = true
	return news
}
