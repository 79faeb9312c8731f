package conformance

import "slices"

// The key with the attachments that are valid, and the one by which libcni 1.2 said the same: libcni sends both.
const (
	validKey  = "cni.dev/valid-attachments"
	formerKey = "cni.dev/attachments"
)

// gc executes GC with the attachments that are still valid.
func (r *Run) gc(valid []*Container, change ...func(*call)) Outcome {
	list := []any{}
	for _, c := range valid {
		list = append(list, map[string]any{"containerID": c.ID, "ifname": c.Interface})
	}
	request := call{verb: "GC", env: map[string]string{}, config: map[string]any{validKey: list, formerKey: list}, later: r.Later != nil}
	for _, f := range change {
		f(&request)
	}
	return r.exec(request)
}

// whole expects the container to be as its ADD has left it, whatever was done to others.
func (c *Container) whole() {
	if c.run.Role == Interface && !slices.Contains(c.links(), c.Interface) {
		c.run.Errorf("%s of %s is gone, which is valid", c.Interface, c.ID)
	}
	if len(c.run.known("CHECK")) > 0 {
		c.run.succeeds(c.exec("CHECK"), true)
	}
}

var gcRows = []Row{
	{Promise: "GC should remove as many stale resources as possible: " +
		"any IPAM reservations of attachments not in the provided list; no output", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		before := r.holds()
		valid, stale := r.container(), r.container()
		valid.add()
		stale.add()
		r.succeeds(r.gc([]*Container{valid}), true)
		r.held(before, 1)
		valid.whole()
		r.fails(stale.exec("CHECK"), nil)
	}},
	{Promise: "an empty list names no attachment as valid: GC removes all", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		before := r.holds()
		c := r.container()
		c.add()
		r.succeeds(r.gc(nil), true)
		r.held(before, 0)
	}},
	{Promise: "a valid attachment is a pair of container ID and interface name: the other interface of a valid container is stale",
		Source: "spec", Verb: "GC", Prove: func(r *Run) {
			before := r.holds()
			c := r.container()
			second := c.sibling("eth1")
			c.add()
			second.add()
			r.succeeds(r.gc([]*Container{c}), true)
			r.held(before, 1)
			c.whole()
		}},
	{Promise: "the list is of the attachments to this network: another's stay", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		before := r.holds()
		c := r.container()
		c.add()
		r.succeeds(r.gc(nil, config("name", "another")), true)
		r.held(before, 1)
		c.whole()
	}},
	{Promise: "without the key nobody knows what is valid: nothing is removed", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		before := r.holds()
		c := r.container()
		c.add()
		r.gc(nil, config(validKey, nil), config(formerKey, nil))
		r.held(before, 1)
		c.whole()
	}},
	{Promise: "the plugin may assume that the isolation domain has been deleted: GC succeeds then", Source: "spec", Verb: "GC",
		Prove: func(r *Run) {
			before := r.holds()
			c := r.container()
			c.add()
			c.removeNetns()
			r.succeeds(r.gc(nil), true)
			r.held(before, 0)
		}},
	{Promise: "a delete after a GC succeeds, and so does another GC", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		c := r.container()
		c.add()
		r.succeeds(r.gc(nil), true)
		r.succeeds(r.gc(nil), true)
		c.del()
	}},
	{Promise: "a list that cannot be decoded is an error, and nothing is removed", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		before := r.holds()
		c := r.container()
		c.add()
		r.fails(r.gc(nil, config(validKey, "all"), config(formerKey, nil)), nil)
		r.held(before, 1)
	}},
}
