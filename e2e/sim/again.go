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
		if n.cluster.going() && c.running() {
			errs = append(errs, c.insert(patience))
		}
		p.unlock()
	}
	return errors.Join(errs...)
}

// doStale has a DEL of the place's container, or a GC that does not know of it, come late: its runtime has given it up, and has added
// the container again since.
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
	if s.Choice%2 == 0 {
		_, err := c.node.call(patience, 0, r, c.ns)
		return err
	}
	r = &wire.Request{Operation: wire.GC, Network: network, Started: int64(began), Valid: []wire.Attachment{}}
	for _, other := range c.node.cluster.judge.containersOf(c.node) {
		if other != c && other.there() {
			r.Valid = append(r.Valid, wire.Attachment{Container: other.id, Interface: iface})
		}
	}
	_, err := c.node.call(patience, 0, r)
	return err
}
