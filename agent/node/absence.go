package node

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Absences measures on CLOCK_MONOTONIC how long the sessions of other nodes have been absent, each under one revision of its node
// key. When a node returns, it rewrites that key and the time starts again. It also starts again when this agent starts.
type Absences struct {
	mu       lockorder.Subject
	nodes    map[string]record.Node
	live     map[string]bool
	seen     int64 // the revision of etcd that live is of
	absences map[string]absence

	unknown map[string]time.Time // nodes that have neither a record nor a session, and since when
}

type absence struct {
	revision int64 // of the node key
	began    time.Time
}

// ApplyNodes applies an update of the node records. Updates of nodes and sessions may come in any order: a session counts as
// absent only by an update that is not older than the node key.
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

// ApplySessions applies an update of the sessions, as ApplyNodes does.
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

// Over reports whether a node has been absent for its right over a class and a tenth more, under which revision of its node key,
// and if not, how long is left. It is never over for a node that is present.
func (w *Absences) Over(node string, class allocator.Class) (a record.Absence, left time.Duration, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, since := w.nodes[node], w.absences[node]
	if since.began.IsZero() {
		return a, 0, false
	}
	left = ipam.WaitOut(RightOf(n, class)) - time.Since(since.began)
	return record.Absence{Node: node, Revision: since.revision}, left, left <= 0
}

// Waited is Over for a stateful ADD. Where a node's record was deleted, the longest right that any node may have counts, from the
// first call.
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

// longestRight is the longest right over a class that a node key states.
func (w *Absences) longestRight(class allocator.Class) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		longest = max(longest, RightOf(n, class))
	}
	return longest
}

// RightOf is how long a node may use its addresses of a class after its last proof, by its node key.
func RightOf(n record.Node, class allocator.Class) time.Duration {
	if class == allocator.Stateful {
		return time.Duration(n.Session)
	}
	return time.Duration(n.AddressLease)
}

// First reports whether a node is the first by name of the live ones: it does what one node does for all.
func (w *Absences) First(node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.live {
		// A session without a node was written by hand.
		if _, known := w.nodes[name]; (known || w.nodes == nil) && name < node {
			return false
		}
	}
	return w.live[node]
}
