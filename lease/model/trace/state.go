package trace

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/model"
	"github.com/berth-ipam/berth/lease/record"
)

// apply takes in an event.
func (c *Checker) apply(e *clientv3.Event, at time.Time) {
	text, put := string(e.Kv.Key), e.Type == mvccpb.PUT
	key, err := c.keys.Parse(text)
	if err != nil {
		return
	}
	switch key.Kind {
	case kv.KindCluster:
		if was := c.recorded; true {
			c.recorded = c.says(e)
			if c.recorded != model.Certain && (c.recorded == model.Void || was == model.Certain) {
				c.recovering = at
			}
		}
	case kv.KindSettings:
		if s, err := record.SettingsCodec.Read(c.keys, e.Kv); put && err == nil {
			c.strict = s.Fencing == record.FencingStrict
		}
	case kv.KindNode, kv.KindSession:
		n := c.node(key.Node)
		*n, n.since = n.after(c, key.Kind, e), at
	case kv.KindBlock:
		delete(c.blocks, text)
		if put {
			b, err := record.BlockCodec.Read(c.keys, e.Kv)
			c.blocks[text] = block{b, err != nil}
		}
	case kv.KindReservation:
		delete(c.reservations, text)
		if put {
			r, err := record.ReservationCodec.Read(c.keys, e.Kv)
			c.reservations[text] = reservation{r, true, err != nil}
		}
	}
}

// says is what the cluster's key says after an event; a damaged one says nothing.
func (c *Checker) says(e *clientv3.Event) model.State {
	r, err := record.ClusterCodec.Read(c.keys, e.Kv)
	switch {
	case e.Type != mvccpb.PUT || err != nil:
		return model.Missing
	case r.ID == c.cluster:
		return model.Certain
	case r.ID == "":
		return model.Void
	}
	return model.Foreign
}

// node is what etcd has of one.
func (c *Checker) node(name string) *node {
	if c.nodes[name] == nil {
		c.nodes[name] = &node{}
	}
	return c.nodes[name]
}

// after is a node once an event has happened.
func (n node) after(c *Checker, kind kv.Kind, e *clientv3.Event) node {
	put := e.Type == mvccpb.PUT
	at := e.Kv.ModRevision
	if !put {
		at = 0
	}
	if kind == kv.KindSession {
		n.session, n.repaired = at, false
		return n
	}
	r, err := record.NodeCodec.Read(c.keys, e.Kv)
	n.repaired = n.damaged && put && err == nil
	n.generation, n.damaged = at, put && err != nil
	if put && err == nil {
		n.record = r
	}
	return n
}

// alive reports whether a node has the session of its generation, as far as that is known.
func (n *node) alive() bool {
	return n.session > 0 && (n.session == n.generation || n.damaged || n.repaired)
}

// removed reports whether the node's record is a tombstone.
func (n *node) removed() bool { return n.generation > 0 && n.record.Removed != nil }

// waited reports whether a node's session has been absent for its right over a class, and a tenth.
func (c *Checker) waited(name string, class allocator.Class, at time.Time) bool {
	n := c.node(name)
	right := time.Duration(n.record.AddressLease)
	if class == allocator.Stateful {
		strict := n.record.Fencing == record.FencingStrict
		if n.generation == 0 {
			strict = c.strict
		}
		if n.removed() || !strict {
			return n.session == 0
		}
		right = time.Duration(n.record.Session)
	}
	return n.session == 0 && c.past(n.since, right, at)
}

// past reports whether by some time a right that began at another one, and a tenth, had gone by.
func (c *Checker) past(since time.Time, right time.Duration, at time.Time) bool {
	return c.untimed || at.Sub(since) >= ipam.WaitOut(right)
}

// removable reports whether a node was absent until it had no right to anything that etcd says it has.
func (c *Checker) removable(name string, at time.Time) bool {
	for _, b := range c.blocks {
		if b.damaged || len(b.Of(name)) > 0 {
			return c.waited(name, allocator.Stateless, at) && c.waited(name, allocator.Stateful, at)
		}
	}
	for _, r := range c.reservations {
		if r.damaged || r.Holder != nil && r.Holder.Node == name {
			return c.waited(name, allocator.Stateful, at)
		}
	}
	return c.node(name).session == 0
}

// recovered reports whether all rights from before a recovery have run out.
func (c *Checker) recovered(at time.Time) bool {
	var longest allocator.Duration
	for _, n := range c.nodes {
		if n.generation > 0 {
			longest = max(longest, n.record.AddressLease, n.record.Session)
		}
	}
	return c.past(c.recovering, time.Duration(longest), at)
}
