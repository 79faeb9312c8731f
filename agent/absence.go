package agent

import (
	"context"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// absences remembers how long this node has seen others to be away: since when, on its own CLOCK_MONOTONIC, it knows
// that a node's session key is absent, and under which revision of its node key. A return rewrites that, and the wait
// begins anew; so it does when this agent starts.
type absences struct {
	mu    sync.Mutex
	nodes map[string]record.Node
	live  map[string]bool
	seen  int64 // the revision of etcd up to which live tells
	waits map[string]wait

	unknown map[string]time.Time // nodes that have neither a record nor a session, and since when that is known
}

type wait struct {
	revision int64 // of the node key
	began    time.Time
}

// takeNodes and takeSessions bring in what the watches say. They may come in any order: a session is absent for a node
// key only by news that are not older than that key.

func (w *absences) takeNodes(u kv.Update[record.Node]) {
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

func (w *absences) takeSessions(u kv.Update[record.Presence]) {
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

func (w *absences) update() {
	if w.waits == nil {
		w.waits = map[string]wait{}
	}
	for name, n := range w.nodes {
		switch {
		case w.live[name] || w.seen < n.Revision:
			delete(w.waits, name)
		case w.waits[name].revision != n.Revision:
			w.waits[name] = wait{n.Revision, time.Now()}
		}
	}
	for name := range w.waits {
		if _, there := w.nodes[name]; !there {
			delete(w.waits, name)
		}
	}
	for name := range w.unknown {
		if _, there := w.nodes[name]; there || w.live[name] {
			delete(w.unknown, name)
		}
	}
}

func (w *absences) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes, w.live, w.waits, w.unknown, w.seen = nil, nil, nil, nil, 0
}

// over tells whether a node has been away for its whole right over a class and a tenth of it, under which revision of
// its node key, and if not, how long that takes yet. Of a node that is not away nothing is ever over.
func (w *absences) over(node string, class allocator.Class) (a record.Absence, left time.Duration, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, since := w.nodes[node], w.waits[node]
	if since.began.IsZero() {
		return a, 0, false
	}
	left = ipam.WaitOut(rightOf(n, class)) - time.Since(since.began)
	return record.Absence{Node: node, Revision: since.revision}, left, left <= 0 || broken.Wait
}

// waited is over, for what a stateful ADD wants of a node. Of one without a record, which somebody has deleted, only the
// longest right is known that a node may have; the wait begins when it is first asked about.
func (w *absences) waited(a record.Absence, longest time.Duration) bool {
	if a.Revision == 0 {
		return w.waitedUnknown(a.Node, longest)
	}
	now, _, over := w.over(a.Node, allocator.Stateful)
	return over && now == a
}

func (w *absences) waitedUnknown(node string, longest time.Duration) bool {
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

// longestRight is the longest one over a class that a node has written into its key.
func (w *absences) longestRight(class allocator.Class) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		longest = max(longest, rightOf(n, class))
	}
	return longest
}

func rightOf(n record.Node, class allocator.Class) time.Duration {
	if class == allocator.Stateful {
		return time.Duration(n.Session)
	}
	return time.Duration(n.AddressLease)
}

// first reports whether a node is the first by name of those that live: who does what one is to do for all.
func (w *absences) first(node string) bool {
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

func (a *Agent) followNodes(ctx context.Context) error {
	return a.store.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) {
		report(a, u)
		a.absences.takeNodes(u)
	})
}

func (a *Agent) followSessions(ctx context.Context) error {
	return a.store.Sessions.FollowSessions(ctx, func(u kv.Update[record.Presence]) {
		report(a, u)
		a.absences.takeSessions(u)
		for _, p := range u.Gone {
			if p.Node == a.Node {
				a.sessionGone(p.Revision)
			}
		}
	})
}

// sessionGone ends the session of a generation at once when the watch tells that its key is gone, as after a revocation by
// mistake: the next renewal would notice it only later.
func (a *Agent) sessionGone(generation int64) {
	if s := a.gate.Session(); s != nil && s.Generation() == generation {
		a.lost.Raise()
	}
}
