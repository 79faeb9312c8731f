package member

import (
	"github.com/berth-ipam/berth/lease/config"
)

// reassertLocked has the node settle anew where a configuration brings a pool that containers here have addresses of already:
// etcd had lost it, so that nothing of it could be asserted yet. A settling that has not begun asserts by the newer one.
func (a *Settler) reassertLocked(c *config.Config) {
	if a.asserted == nil {
		return
	}
	for _, e := range a.Journal.Entries() {
		_, there := c.Pools[e.Pool]
		if _, was := a.asserted.Pools[e.Pool]; there && !was {
			a.Reassert.Raise()
			return
		}
	}
	a.asserted = c // nothing is held of the pools that are new in it
}

// beginAsserting says that a settling begins, which asserts what is held by the present configuration.
func (a *Settler) beginAsserting() {
	a.Gate.Exclusive(func() { a.asserted = a.Config() })
}
