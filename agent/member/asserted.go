package member

import (
	"github.com/berth-ipam/berth/lease/config"
)

// reassertLocked has the node settle anew where a configuration brings a pool that containers here have addresses of already:
// etcd had lost it, so that nothing of it could be asserted yet. A settling that has not begun asserts by the newer one.
func (se *Settler) reassertLocked(c *config.Config) {
	if se.asserted == nil {
		return
	}
	for _, e := range se.Journal.Entries() {
		_, there := c.Pools[e.Pool]
		if _, was := se.asserted.Pools[e.Pool]; there && !was {
			se.Reassert.Raise()
			return
		}
	}
	se.asserted = c // nothing is held of the pools that are new in it
}

// noteAsserted says that a settling begins, which asserts what is held by the present configuration.
func (se *Settler) noteAsserted() {
	se.Gate.Exclusive(func() { se.asserted = se.Config() })
}
