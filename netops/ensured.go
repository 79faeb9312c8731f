package netops

import (
	"reflect"
	"slices"
	"sync"
)

// bridges remembers which bridges are as they were asked for, until the kernel tells of a change.
type bridges struct {
	ensuring sync.Mutex

	mu    sync.Mutex
	known map[string]*ensured
}

type ensured struct {
	bridge Bridge
	state  BridgeState
	links  []int // indices of bridge and uplink
	whole  bool  // it is as it was asked for
	stale  bool  // something has changed since it was looked at
}

// changed is told by the monitor; index 0 means any link.
func (b *bridges) changed(index int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.known {
		e.stale = e.stale || index == 0 || slices.Contains(e.links, index)
	}
}

func (b *bridges) recall(want Bridge) (BridgeState, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[want.Name]
	if e == nil || !e.whole || e.stale || !reflect.DeepEqual(e.bridge, want) {
		return BridgeState{}, false
	}
	return e.state, true
}

// watch begins to remember a bridge, before it is looked at; what changes meanwhile makes it stale.
func (b *bridges) watch(want Bridge, links ...int) (e *ensured, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]*ensured{}
	}
	e, first = &ensured{bridge: want, links: links}, b.known[want.Name] == nil
	b.known[want.Name] = e
	return e, first
}

func (b *bridges) settle(e *ensured, state BridgeState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.state, e.whole = state, err == nil
}
