package conformance

var statusRows = []Row{
	{Promise: "STATUS exits with zero if the plugin is ready to service ADD requests, without output, and changes nothing", Source: "spec",
		Verb: "STATUS", Prove: func(r *Run) {
			before := r.holds()
			r.succeeds(r.status(), true)
			r.held(before, 0)
		}},
	{Promise: "STATUS takes no attachment's parameters", Source: "spec", Verb: "STATUS", Prove: func(r *Run) {
		r.succeeds(r.exec(call{verb: "STATUS", env: map[string]string{"CNI_ARGS": "K8S_POD_NAME=a;IgnoreUnknown=1"}}), true)
	}},
	{Promise: "if a plugin has a limited number of resources it should return an error if those are exhausted: 50; other operations go on",
		Source: "spec", Verb: "STATUS", Needs: func(s *Subject) bool { return s.Small != nil }, Prove: func(r *Run) {
			var held []*Container
			var last Outcome
			for range 17 {
				c := r.container()
				if last = c.exec("ADD", wholly(r.Small)); last.Code != 0 {
					break
				}
				c.result = r.result(last)
				held = append(held, c)
			}
			if last.Code == 0 || len(held) == 0 {
				r.Fatalf("%d ADDs have succeeded: want a few, and then an error", len(held))
			}
			if !r.eventually(func() bool { return r.status(wholly(r.Small)).Code != 0 }) {
				r.Errorf("STATUS says that all is well while ADD fails with %s", last.Stdout)
			} else {
				r.fails(r.status(wholly(r.Small)), []int{50})
			}
			r.succeeds(r.status(), true) // of what is not exhausted
			for _, c := range held {
				c.del(wholly(r.Small))
			}
			if !r.eventually(func() bool { return r.status(wholly(r.Small)).Code == 0 }) {
				r.Errorf("STATUS stays bad after all is free again: %s", r.status(wholly(r.Small)).Stdout)
			}
		}},
	{Promise: "if a plugin relies on an external service or daemon, it should return an error to STATUS if that is unavailable: 50 or 51",
		Source: "spec", Verb: "STATUS", Needs: hasAway, Prove: func(r *Run) {
			r.without(func() { r.fails(r.status(), []int{50, 51}) })
			r.succeeds(r.status(), true)
		}},
	{Promise: "plugins should always expect other operations even if STATUS returns an error: DEL succeeds", Source: "spec", Verb: "DEL",
		Needs: hasAway, Prove: func(r *Run) {
			c, before := r.container(), r.holds()
			c.add()
			r.without(func() { c.del() })
			r.held(before, 0)
		}},
}

// status executes STATUS.
func (r *Run) status(change ...func(*call)) Outcome {
	request := call{verb: "STATUS", env: map[string]string{}, config: map[string]any{}}
	for _, f := range change {
		f(&request)
	}
	return r.exec(request)
}
