package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
)

// A Selector names a set of containers, wherever they run. What is left empty does not narrow it.
type Selector struct {
	Containers []string // IDs, or unique beginnings of IDs
	App        allocator.App
	Node, Pool string
	Live       bool // do not count what only a new container can get: such a container has what a running one can have
}

// The parameters by which a set is named, on every way: as flags, in a query, in a request over the socket.
const (
	ByContainer = "container" // any number of them
	ByApp       = "app"       // NAMESPACE/APP
	ByNode      = "node"
	ByPool      = "pool"
	ByLive      = "live" // true or false
)

// SelectorOf reads a set from parameters and their values. All ways of asking for the version of a set come through
// here, so that each refuses what the others refuse: a parameter that is unknown, given twice, empty or malformed.
func SelectorOf(parameters map[string][]string) (set Selector, err error) {
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		values := parameters[name]
		switch {
		case name == ByContainer:
			if slices.Contains(values, "") {
				return set, fmt.Errorf("parameter %q is empty: want the ID of a container, or the beginning of one", name)
			}
			set.Containers = values
			continue
		case !slices.Contains(parameterNames, name):
			return set, fmt.Errorf("parameter %q is unknown: there are %s", name, strings.Join(parameterNames, ", "))
		case len(values) > 1:
			return set, fmt.Errorf("parameter %q is given %d times: want it once", name, len(values))
		case len(values) == 0 || values[0] == "":
			return set, fmt.Errorf("parameter %q is empty: want a value, or leave it out to mean all", name)
		}
		if err := set.narrow(name, values[0]); err != nil {
			return set, err
		}
	}
	return set, nil
}

var parameterNames = []string{ByContainer, ByApp, ByNode, ByPool, ByLive}

func (set *Selector) narrow(name, value string) (err error) {
	switch name {
	case ByApp:
		set.App, err = ParseApp(value)
	case ByNode:
		set.Node, err = value, allocator.ValidName("node", value)
	case ByPool:
		set.Pool, err = value, allocator.ValidName("pool", value)
	case ByLive:
		if value != "true" && value != "false" {
			return fmt.Errorf("parameter %q is %q: want true or false", name, value)
		}
		set.Live = value == "true"
	}
	return err
}

// ParseApp reads NAMESPACE/APP.
func ParseApp(word string) (app allocator.App, err error) {
	namespace, name, slash := strings.Cut(word, "/")
	if !slash || allocator.ValidName("namespace", namespace) != nil || allocator.ValidName("app", name) != nil {
		return app, fmt.Errorf("app %q: want NAMESPACE/APP, such as shop/web", word)
	}
	return allocator.App{Namespace: namespace, Name: name}, nil
}

// A SelectorError says that a selector names something that is not there, or an ID's beginning that several share.
type SelectorError struct {
	What, Name string   // "container", "app", "node" or "pool", and what it was called
	Candidates []string // the IDs that begin so
}

func (e *SelectorError) Error() string {
	switch {
	case len(e.Candidates) > 0:
		return fmt.Sprintf("lease: %d containers begin with %q: %s: want more of the ID", len(e.Candidates), e.Name,
			strings.Join(e.Candidates[:min(len(e.Candidates), 3)], ", "))
	case e.What == ByContainer:
		return fmt.Sprintf("lease: no container %q is in the set: want the ID of one that has an address, or the beginning of its ID", e.Name)
	case e.What == ByApp:
		return fmt.Sprintf("lease: no container of app %q is in the set, and no address is reserved for one: see \"berthctl get "+
			"assignments\" and \"berthctl get reservations\"", e.Name)
	}
	return fmt.Sprintf("lease: there is no %s %q: see \"berthctl get %ss\"", e.What, e.Name, e.What)
}
