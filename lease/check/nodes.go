package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A NotLiveError says that a node cannot take part.
type NotLiveError struct {
	Node string
	Live []string // those that could
}

func (e *NotLiveError) Error() string {
	if e.Node == "" {
		return "no node is live: start berthd on the nodes"
	}
	if len(e.Live) == 0 {
		return fmt.Sprintf("node %q is not live, and neither is any other: start berthd there", e.Node)
	}
	return fmt.Sprintf("node %q is not live: want one of %s", e.Node, strings.Join(e.Live, ", "))
}

// choose makes of the nodes that were named those that take part: without names all that are live.
func (a *asker) choose() error {
	live := slices.Sorted(maps.Keys(a.known))
	if len(live) == 0 {
		return &NotLiveError{}
	}
	for _, names := range [][]string{a.check.Nodes, a.check.From} {
		for _, name := range names {
			if _, ok := a.known[name]; !ok {
				return &NotLiveError{name, live}
			}
		}
	}
	if len(a.check.Nodes) == 0 {
		a.check.Nodes = live
	}
	if len(a.check.From) == 0 {
		a.check.From = a.check.Nodes
	}
	a.check.Nodes = slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.check.Nodes, a.check.From))))
	a.check.From = slices.Compact(slices.Sorted(slices.Values(a.check.From)))
	return nil
}
