package conformance

import "slices"

var delRows = []Row{
	{Promise: "DEL deletes the interface defined by CNI_IFNAME, and releases what was assigned; no output", Source: "spec", Verb: "DEL",
		Prove: func(r *Run) {
			c, before := r.container(), r.holds()
			c.add()
			c.del()
			r.held(before, 0)
			if links := c.links(); !slices.Equal(links, []string{"lo"}) {
				r.Errorf("the container has the links %v: want lo alone", links)
			}
		}},
	{Promise: "plugins MUST accept multiple DEL calls for the same pair", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c := r.container()
		c.add()
		c.del()
		c.del()
		c.del()
	}},
	{Promise: "… and return success if the interface in question, or any modifications added, are missing: never ADDed", Source: "spec",
		Verb: "DEL", Prove: func(r *Run) {
			r.container().del()
		}},
	{Promise: "CNI_NETNS is optional for DEL", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		c.removeNetns()
		c.del(without("CNI_NETNS"))
		r.held(before, 0)
	}},
	{Promise: "DEL without a namespace that lives on still releases", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		c.del(without("CNI_NETNS"))
		r.held(before, 0)
	}},
	{Promise: "release an IP allocation and return success even if the container network namespace no longer exists", Source: "spec",
		Verb: "DEL", Prove: func(r *Run) {
			c, before := r.container(), r.holds()
			c.add()
			c.removeNetns()
			c.del()
			r.held(before, 0)
		}},
	{Promise: "… even if the interface no longer exists", Source: "spec", Verb: "DEL", Role: Interface, Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		c.removeLink()
		c.del()
		r.held(before, 0)
	}},
	{Promise: "plugins should still return without error if prevResult is empty", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		c.del(config("prevResult", nil))
		r.held(before, 0)
	}},
	{Promise: "a DEL completes to the fullest extent possible: with a prevResult that is somebody else's too", Source: "spec", Verb: "DEL",
		Prove: func(r *Run) {
			c, other, before := r.container(), r.container(), r.holds()
			foreign := other.add()
			c.add()
			c.del(config("prevResult", foreign.raw))
			r.held(before, 1)
			if r.Role == Interface && !slices.Contains(other.links(), other.Interface) {
				r.Errorf("the DEL took what the prevResult names, which is another container's")
			}
		}},
	{Promise: "a delete must still be executed even if the add fails: it succeeds", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c := r.container()
		r.fails(c.exec("ADD", config("cniVersion", "9.9.9")), []int{1})
		c.del()
	}},
	{Promise: "the configuration should not change between add and delete: one that did does not keep the DEL from its work", Source: "spec",
		Verb: "DEL", Prove: func(r *Run) {
			c, before := r.container(), r.holds()
			c.add()
			c.del(config("mtu", 1400), config("runtimeConfig", map[string]any{"org.example": 1}),
				config("dns", map[string]any{"domain": "example.org"}))
			r.held(before, 0)
		}},
	{Promise: "an ADD, a DEL and an ADD of the same pair are a new life", Source: "spec", Verb: "DEL", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		c.del()
		c.add()
		r.held(before, 1)
		if r.Role == Interface && !slices.Contains(c.links(), c.Interface) {
			r.Errorf("no interface after the second ADD")
		}
	}},
}
