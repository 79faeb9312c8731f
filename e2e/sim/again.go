package sim

import (
	"errors"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
)

// doRepeat has a node's runtime ask once more for all that runs there, as one does that was started anew.
func (n *node) doRepeat(Step) error {
	var errs []error
	for _, c := range n.cluster.judge.containersOf(n) {
		p := c.place
		p.lock()
		if n.cluster.going() && c == p.current && c.running() {
			errs = append(errs, c.insert(patience))
		}
		p.unlock()
	}
	return errors.Join(errs...)
}

// doStale has a DEL of the place's container come late: its runtime has given it up, and has added the container again since.
func (p *place) doStale(s Step) error {
	c := p.current
	if c == nil || !c.running() {
		return errSkipped
	}
	began := c.node.boottime()
	time.Sleep(time.Millisecond)
	if err := c.insert(patience); err != nil {
		return err
	}
	time.Sleep(s.For)
	if c.booted != c.node.boots {
		return errSkipped
	}
	r := &wire.Request{Operation: wire.Delete, Verb: "DEL", Started: int64(began), Containers: wire.Containers{c.request}}
	_, err := c.node.call(patience, 0, r, c.ns)
	return err
}
