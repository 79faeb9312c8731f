package conformance

import (
	"slices"
	"strings"
)

// verbs that a container has to be named for.
var containerVerbs = []string{"ADD", "DEL", "CHECK"}

// known are the verbs that the row's version has.
func (r *Run) known(verbs ...string) []string {
	return slices.DeleteFunc(slices.Clone(verbs), func(v string) bool {
		return slices.Index(Versions, r.Version) < slices.Index(Versions, since(v))
	})
}

var errorRows = []Row{
	{Promise: "exit with a return code of 0 on success, and non-zero on failure … output an “error” result structure", Source: "spec",
		Verb: "ADD", Prove: func(r *Run) {
			failure := r.fails(r.container().exec("ADD", config("name", nil)), nil)
			if failure.CNIVersion == "" {
				r.Errorf("the error has no cniVersion: want %q", r.Version)
			}
		}},
	{Promise: "1: incompatible CNI version", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		for _, verb := range []string{"ADD", "DEL"} {
			r.fails(r.container().exec(verb, config("cniVersion", "9.9.9")), []int{1}, "9.9.9")
		}
		for _, verb := range []string{"CHECK", "STATUS", "GC"} {
			r.fails(r.container().exec(verb, config("cniVersion", "9.9.9")), []int{1})
		}
	}},
	{Promise: "a configuration without cniVersion is one of 0.1.0: it is served as such, or refused as incompatible", Source: "skel",
		Verb: "ADD", Prove: func(r *Run) {
			if o := r.container().exec("ADD", config("cniVersion", nil)); o.Code != 0 {
				r.fails(o, []int{1})
			} else if answer := r.decode(o.Stdout); answer["ip4"] == nil && answer["ip6"] == nil {
				r.Errorf("%s is no result of 0.1.0", o.Stdout)
			}
		}},
	{Promise: "4: invalid necessary environment variables … the message must contain the names of invalid variables: all that are missing",
		Source: "spec", Verb: "ADD", Prove: func(r *Run) {
			c := r.container()
			r.fails(c.exec("ADD", without("CNI_CONTAINERID"), without("CNI_NETNS"), without("CNI_IFNAME")), []int{4}, "CNI_CONTAINERID",
				"CNI_NETNS", "CNI_IFNAME")
			r.fails(c.exec("DEL", without("CNI_CONTAINERID"), without("CNI_IFNAME")), []int{4}, "CNI_CONTAINERID", "CNI_IFNAME")
		}},
	{Promise: "4: CHECK needs CNI_CONTAINERID, CNI_NETNS and CNI_IFNAME", Source: "spec", Verb: "CHECK", Prove: func(r *Run) {
		r.fails(r.container().exec("CHECK", without("CNI_CONTAINERID"), without("CNI_NETNS"), without("CNI_IFNAME")), []int{4},
			"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")
	}},
	{Promise: "4: GC needs CNI_PATH", Source: "spec", Verb: "GC", Prove: func(r *Run) {
		r.fails(r.container().exec("GC", without("CNI_PATH"), config("cni.dev/valid-attachments", []any{})), []int{4}, "CNI_PATH")
	}},
	{Promise: "4: an unknown CNI_COMMAND", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		r.fails(r.container().exec("FROB"), []int{4}, "CNI_COMMAND")
	}},
	{Promise: "6: failed to decode content", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		for _, verb := range r.known("ADD", "DEL", "CHECK", "STATUS", "GC") {
			r.fails(r.container().exec(verb, stdin(`{"cniVersion": `)), []int{6})
		}
	}},
	{Promise: "7: a network configuration without a name", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		for _, verb := range r.known("ADD", "DEL", "CHECK", "STATUS", "GC") {
			r.fails(r.container().exec(verb, config("name", nil)), []int{7}, "name")
		}
	}},
	{Promise: "a network's name must start with an alphanumeric character, followed by alphanumerics, underscore, dot or hyphen",
		Source: "spec", Verb: "ADD", Prove: func(r *Run) {
			for _, name := range []string{"_net", "a/b", "a b"} {
				r.fails(r.container().exec("ADD", config("name", name)), []int{7})
			}
		}},
	{Promise: "a container ID must start with an alphanumeric character, followed by alphanumerics, underscore, dot or hyphen",
		Source: "spec", Verb: "ADD", Prove: func(r *Run) {
			for _, verb := range r.known(containerVerbs...) {
				for _, id := range []string{"_a", "a/b", "a b", "../a"} {
					r.fails(r.container().exec(verb, env("CNI_CONTAINERID", id)), []int{4})
				}
			}
		}},
	{Promise: "if the plugin is unable to use this interface name it must return an error", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		for _, name := range []string{".", "..", "a/b", "a:b", "a b", "sixteen-letters-"} {
			r.fails(r.container().exec("ADD", env("CNI_IFNAME", name)), []int{4})
		}
	}},
	{Promise: "a namespace that is not there is an error", Source: "skel", Verb: "ADD", Role: Interface, Prove: func(r *Run) {
		r.fails(r.container().exec("ADD", env("CNI_NETNS", "/run/netns/absent")), nil, "/run/netns/absent")
	}},
	{Promise: "8: the plugin's own namespace is not a container's", Source: "skel", Verb: "ADD", Role: Interface, Prove: func(r *Run) {
		before := r.holds()
		c := r.container()
		c.Interface = "own7"
		defer r.dropLink(c.Interface)
		r.fails(c.exec("ADD", env("CNI_NETNS", r.Netns)), nil)
		r.held(before, 0)
	}},
	{Promise: "runtimes must preserve unknown fields: those and the tracing environment are tolerated", Source: "spec", Verb: "ADD",
		Prove: func(r *Run) {
			c := r.container()
			odd := wholly(map[string]any{"org.example": map[string]any{"x": 1}, "cni.dev/odd": "y", "args": map[string]any{"org.example": 2}})
			c.add(odd, env("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), env("TRACESTATE", "a=b"),
				env("BAGGAGE", "c=d"))
			c.del(odd)
		}},
	{Promise: "without CNI_COMMAND it tells a person what it is", Source: "skel", Verb: "VERSION", Prove: func(r *Run) {
		o := r.exec(call{env: map[string]string{"CNI_COMMAND": ""}})
		if o.Code != 0 || strings.TrimSpace(o.Stderr) == "" || strings.TrimSpace(o.Stdout) != "" {
			r.Errorf("exit code %d, standard output %q, standard error %q: want 0, none and a sentence", o.Code, o.Stdout, o.Stderr)
		}
	}},
}

var versionRows = []Row{
	{Promise: "VERSION answers the cniVersion specified on input and a list of supported versions", Source: "spec", Verb: "VERSION",
		Prove: func(r *Run) {
			o := r.exec(call{verb: "VERSION", stdin: `{"cniVersion":"` + r.Version + `"}`, env: map[string]string{"CNI_PATH": ""}})
			r.succeeds(o, false)
			answer := r.decode(o.Stdout)
			if answer["cniVersion"] == nil {
				r.Errorf("no cniVersion in %q", o.Stdout)
			}
			supported, _ := answer["supportedVersions"].([]any)
			if !slices.Contains(supported, any(r.Version)) {
				r.Errorf("supportedVersions %v do not name %s", supported, r.Version)
			}
		}},
	{Promise: "VERSION requires the parameter CNI_COMMAND alone", Source: "spec", Verb: "VERSION", Prove: func(r *Run) {
		r.succeeds(r.exec(call{verb: "VERSION", stdin: " ", env: map[string]string{"CNI_PATH": "", "PATH": ""}}), false)
	}},
}
