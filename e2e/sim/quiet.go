package sim

import (
	"maps"
	"sync"
	"time"
)

// scope is what a deed of the plan disturbs: what it is a cause for. Deeds without one are a cause for nothing.
type scope int

const (
	oneNode scope = iota + 1
	everyNode
)

var disturbs = map[Deed]scope{
	Kill: oneNode, Stop: oneNode, Boot: oneNode, Pause: oneNode, Cut: oneNode, CutBack: oneNode, Lossy: oneNode, Slow: oneNode,
	Fill: oneNode, Clear: oneNode, BreakDisk: oneNode, BreakCall: oneNode, News: oneNode, Sleep: oneNode, Flush: oneNode,
	Clone: oneNode, Revoke: oneNode, Hang: oneNode, Deny: oneNode, DenyPut: oneNode, Freeze: oneNode, Misled: oneNode,
	Remove: oneNode,
	Outage: everyNode, Alarm: everyNode, Restore: everyNode, Damage: everyNode, Erase: everyNode, Advice: everyNode, Mangle: everyNode,
}

// A calm knows since when nothing that the plan does disturbs a node.
type calm struct {
	mu    sync.Mutex
	under map[string]int       // steps under way, by node; those of all nodes have no name
	last  map[string]time.Time // when the last one ended
}

func newCalm() *calm { return &calm{under: map[string]int{}, last: map[string]time.Time{}} }

// disturbed notes that a step begins. The function that it returns notes its end.
func (q *calm) disturbed(s Step) (ended func()) {
	node := s.Node
	switch disturbs[s.Do] {
	case oneNode:
	case everyNode:
		node = ""
	default:
		return func() {}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.under[node]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.under[node]--
		q.last[node] = time.Now()
	}
}

// quietAlone reports whether no step that is about a node alone has disturbed it for a time.
func (q *calm) quietAlone(node string, d time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.under[node] == 0 && time.Since(q.last[node]) >= d
}

// quiet reports whether nothing has disturbed a node for a time. Without a name: any node.
func (q *calm) quiet(node string, d time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	nodes := []string{node, ""}
	if node == "" {
		for name := range maps.Keys(q.last) {
			nodes = append(nodes, name)
		}
		for name := range maps.Keys(q.under) {
			nodes = append(nodes, name)
		}
	}
	for _, name := range nodes {
		if q.under[name] > 0 || time.Since(q.last[name]) < d {
			return false
		}
	}
	return true
}
