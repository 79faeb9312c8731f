package node

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Absences remembers how long this node has seen others to be away: since when, on its own CLOCK_MONOTONIC, it knows
// that a node's session key is absent, and under which revision of its node key. A return rewrites that, and the wait
// begins anew; so it does when this agent starts.
type Absences struct {
	mu       lockorder.Subject
	nodes    map[string]record.Node
	live     map[string]bool
	seen     int64 // the revision of etcd up to which live tells
	absences map[string]absence

	unknown map[string]time.Time // nodes that have neither a record nor a session, and since when that is known
}

type absence struct {
	revision int64 // of the node key
	began    time.Time
}

// ApplyNodes and ApplySessions bring in what the watches say. They may come in any order: a session is absent for a node
// key only by news that are not older than that key.
func (w *Absences) ApplyNodes(u kv.Update[record.Node]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full || w.nodes == nil {
		w.nodes = map[string]record.Node{}
	}
	for _, n := range u.Set {
		w.nodes[n.Name] = n
	}
	for _, n := range u.Gone {
		delete(w.nodes, n.Name)
	}
	w.update()
}

// ApplySessions is ApplyNodes for the sessions.
func (w *Absences) ApplySessions(u kv.Update[record.Presence]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full || w.live == nil {
		w.live = map[string]bool{}
	}
	for _, p := range u.Set {
		w.live[p.Node] = true
	}
	for _, p := range u.Gone {
		delete(w.live, p.Node)
	}
	w.seen = u.Revision
	w.update()
}

func (w *Absences) update() {
	if w.absences == nil {
		w.absences = map[string]absence{}
	}
	for name, n := range w.nodes {
		switch {
		case w.live[name] || w.seen < n.Revision:
			delete(w.absences, name)
		case w.absences[name].revision != n.Revision:
			w.absences[name] = absence{n.Revision, time.Now()}
		}
	}
	for name := range w.absences {
		if _, there := w.nodes[name]; !there {
			delete(w.absences, name)
		}
	}
	for name := range w.unknown {
		if _, there := w.nodes[name]; there || w.live[name] {
			delete(w.unknown, name)
		}
	}
}

func (w *Absences) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes, w.live, w.absences, w.unknown, w.seen = nil, nil, nil, nil, 0
}

// Over tells whether a node has been away for its whole right over a class and a tenth of it, under which revision of
// its node key, and if not, how long that takes yet. Of a node that is not away nothing is ever over.
func (w *Absences) Over(node string, class allocator.Class) (a record.Absence, left time.Duration, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, since := w.nodes[node], w.absences[node]
	if since.began.IsZero() {
		return a, 0, false
	}
	left = ipam.WaitOut(RightOf(n, class)) - time.Since(since.began)
	return record.Absence{Node: node, Revision: since.revision}, left, left <= 0 || broken.Wait
}

// Waited is Over, for what a stateful ADD wants of a node. Of one without a record, which somebody has deleted, only the
// longest right is known that a node may have; the wait begins when it is first asked about.
func (w *Absences) Waited(a record.Absence, longest time.Duration) bool {
	if a.Revision == 0 {
		return w.waitedUnknown(a.Node, longest)
	}
	now, _, over := w.Over(a.Node, allocator.Stateful)
	return over && now == a
}

func (w *Absences) waitedUnknown(node string, longest time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.nodes[node]; there || w.live[node] || w.nodes == nil || w.live == nil {
		return false
	}
	began, known := w.unknown[node]
	if !known {
		if w.unknown == nil {
			w.unknown = map[string]time.Time{}
		}
		w.unknown[node] = time.Now()
		return false
	}
	return time.Since(began) > ipam.WaitOut(longest)
}

// LongestRight is the longest one over a class that a node has written into its key.
func (w *Absences) LongestRight(class allocator.Class) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		longest = max(longest, RightOf(n, class))
	}
	return longest
}

// RightOf is how long a node may use what it has of a class after it has last reached etcd, by its key.
func RightOf(n record.Node, class allocator.Class) time.Duration {
	if class == allocator.Stateful {
		return time.Duration(n.Session)
	}
	return time.Duration(n.AddressLease)
}

// First reports whether a node is the first by name of those that live: who does what one is to do for all.
func (w *Absences) First(node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.live {
		// A session of no node is somebody's by hand.
		if _, known := w.nodes[name]; (known || w.nodes == nil) && name < node {
			return false
		}
	}
	return w.live[node]
}

// LongestRights are the longest ones that a node of the cluster may have, by what this one knows.
func (n *Node) LongestRights() map[allocator.Class]time.Duration {
	all := map[allocator.Class]time.Duration{}
	for _, class := range allocator.Classes {
		all[class] = max(n.Absences.LongestRight(class), n.Rights.Duration(class))
		if c := n.Config(); c.Revision > 0 { // else they are not the cluster's
			all[class] = max(all[class], RightOf(record.Node{Session: c.Settings.Session, AddressLease: c.Settings.AddressLease}, class))
		}
	}
	return all
}
