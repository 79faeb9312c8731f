package member

import (
	"maps"
	"slices"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/lease/config"
)

// A Settler brings journal, kernel and allocator into agreement with etcd.
type Settler struct {
	*node.Node
	isolator  *isolation.Isolator
	addresses *addresses.Manager
	publisher *publish.Publisher

	asserted *config.Config // the configuration by which settling has asserted; nil: it has not begun
}

func newSettler(m *addresses.Manager, i *isolation.Isolator, p *publish.Publisher) *Settler {
	s := &Settler{Node: m.Node, isolator: i, addresses: m, publisher: p}
	m.On(node.Hooks{ConfigLocked: []func(*config.Config){s.reassertLocked}, ResetLocked: []func(){func() { s.asserted = nil }}})
	return s
}

// reassertLocked has the node settle again where a configuration adds a pool that containers here have addresses of, or may have,
// since a port's container is unknown. Etcd had lost that pool, so that nothing of it could be asserted. A settling that has not begun
// will assert by the new configuration.
func (se *Settler) reassertLocked(c *config.Config) {
	if se.asserted == nil {
		return
	}
	added := func(pool string) bool {
		_, there := c.Pools[pool]
		_, was := se.asserted.Pools[pool]
		return there && !was
	}
	unidentified := se.isolator.Unidentified.Any() && slices.ContainsFunc(slices.Collect(maps.Keys(c.Pools)), added)
	if unidentified || slices.ContainsFunc(se.Journal.Entries(), func(e *journal.Entry) bool { return added(e.Pool) }) {
		se.Reassert.Raise()
		return
	}
	se.asserted = c // no container here has an address of its new pools
}

// noteAsserted records that a settling begins, which asserts by the present configuration.
func (se *Settler) noteAsserted() {
	se.Gate.Exclusive(func() { se.asserted = se.Config() })
}
