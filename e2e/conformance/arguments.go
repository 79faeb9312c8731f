package conformance

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// asked are addresses to ask for by name, one of each of the subject's families, and other ones each time: a plugin
// may let an address rest after its use.
func (r *Run) asked() (texts []string, addrs []netip.Addr) {
	for i := range r.Requests {
		next := netip.PrefixFrom(r.Requests[i].Addr().Next(), r.Requests[i].Bits())
		texts, addrs = append(texts, next.String()), append(addrs, next.Addr())
		r.Requests[i] = next
	}
	return texts, addrs
}

func runtimeConfig(key string, value any) func(*call) {
	return config("runtimeConfig", map[string]any{key: value})
}

func argsCNI(key string, value any) func(*call) {
	return config("args", map[string]any{"cni": map[string]any{key: value}})
}

func canAsk(s *Subject) bool { return len(s.Requests) > 0 }

// gives expects an ADD with the changes to answer these addresses.
func (r *Run) gives(c *Container, want []netip.Addr, change ...func(*call)) {
	got := c.add(change...).addresses()
	slices.SortFunc(got, netip.Addr.Compare)
	want = slices.SortedFunc(slices.Values(want), netip.Addr.Compare)
	if !slices.Equal(got, want) {
		r.Errorf("ADD gives %v: want %v", got, want)
	}
}

var argumentRows = []Row{
	{Promise: "ips: the capability's addresses are assigned, in CIDR notation", Source: "conventions", Verb: "ADD", Needs: canAsk,
		Prove: func(r *Run) {
			texts, addrs := r.asked()
			r.gives(r.container(), addrs, runtimeConfig("ips", texts))
		}},
	{Promise: "ips: … and without a prefix length", Source: "conventions", Verb: "ADD", Needs: canAsk, Prove: func(r *Run) {
		_, addrs := r.asked()
		var bare []string
		for _, a := range addrs {
			bare = append(bare, a.String())
		}
		r.gives(r.container(), addrs, runtimeConfig("ips", bare))
	}},
	{Promise: "args.cni.ips are assigned", Source: "conventions", Verb: "ADD", Needs: canAsk, Prove: func(r *Run) {
		texts, addrs := r.asked()
		r.gives(r.container(), addrs, argsCNI("ips", texts))
	}},
	{Promise: "CNI_ARGS IP= is assigned", Source: "conventions", Verb: "ADD",
		Needs: func(s *Subject) bool { return canAsk(s) && len(s.Families) == 1 }, Prove: func(r *Run) {
			_, addrs := r.asked()
			r.gives(r.container(), addrs, env("CNI_ARGS", "IgnoreUnknown=1;IP="+addrs[0].String()))
		}},
	{Promise: "CNI_ARGS IP= is ignored when args.cni.ips is present and understood", Source: "conventions", Verb: "ADD", Needs: canAsk,
		Prove: func(r *Run) {
			texts, addrs := r.asked()
			_, others := r.asked()
			r.gives(r.container(), addrs, argsCNI("ips", texts), env("CNI_ARGS", "IgnoreUnknown=1;IP="+others[0].String()))
		}},
	{Promise: "a capability that cannot be honoured is an error: an address that another container has", Source: "conventions", Verb: "ADD",
		Needs: canAsk, Prove: func(r *Run) {
			texts, addrs := r.asked()
			owner := r.container()
			r.gives(owner, addrs, runtimeConfig("ips", texts))
			before := r.holds()
			r.fails(r.container().exec("ADD", runtimeConfig("ips", texts)), nil)
			r.held(before, 0)
			owner.whole()
		}},
	{Promise: "a capability that cannot be honoured is an error: an address of another subnet, or none at all", Source: "conventions",
		Verb: "ADD", Needs: canAsk, Prove: func(r *Run) {
			for _, ip := range []string{"192.0.2.7/24", "2001:db8:ffff::7/64", "10.0.0.300", "example"} {
				r.fails(r.container().exec("ADD", runtimeConfig("ips", []string{ip})), nil, strings.Split(ip, "/")[0])
			}
		}},
	{Promise: "mac: the interface gets the capability's hardware address", Source: "conventions", Verb: "ADD", Role: Interface,
		Needs: func(s *Subject) bool { return s.MAC }, Prove: func(r *Run) {
			const mac = "c2:b0:57:49:47:f1"
			c := r.container()
			result := c.add(runtimeConfig("mac", mac))
			c.inside(func(_ *netlink.Handle, link netlink.Link) error {
				if link.Attrs().HardwareAddr.String() != mac {
					r.Errorf("the interface has %v: want %s", link.Attrs().HardwareAddr, mac)
				}
				return nil
			})
			if !slices.ContainsFunc(result.Interfaces, func(i Entry) bool { return i.MAC == mac }) {
				r.Errorf("the result does not say it: %+v", result.Interfaces)
			}
		}},
	{Promise: "mac: one that is none is an error", Source: "conventions", Verb: "ADD", Role: Interface,
		Needs: func(s *Subject) bool { return s.MAC }, Prove: func(r *Run) {
			r.fails(r.container().exec("ADD", runtimeConfig("mac", "c2:b0")), nil, "c2:b0")
		}},
	{Promise: "K8S_POD_NAMESPACE, NAME, UID and INFRA_CONTAINER_ID are accepted, in any order", Source: "conventions", Verb: "ADD",
		Prove: func(r *Run) {
			args := env("CNI_ARGS", "K8S_POD_UID=3fb9;K8S_POD_INFRA_CONTAINER_ID=cf;K8S_POD_NAME=web-1;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop")
			c := r.container()
			c.add(args)
			c.del(args)
		}},
	{Promise: "IgnoreUnknown=1 tolerates what is not known in CNI_ARGS", Source: "conventions", Verb: "ADD", Prove: func(r *Run) {
		r.container().add(env("CNI_ARGS", "FROB=1;IgnoreUnknown=1"))
	}},
	{Promise: "without IgnoreUnknown an argument that is not known is an error", Source: "conventions", Verb: "ADD", Prove: func(r *Run) {
		r.fails(r.container().exec("ADD", env("CNI_ARGS", "FROB=1")), nil)
	}},
	{Promise: "runtimeConfig with what a runtime knows and a plugin need not is tolerated", Source: "conventions", Verb: "ADD",
		Prove: func(r *Run) {
			known := config("runtimeConfig", map[string]any{
				"io.kubernetes.cri.pod-annotations": map[string]string{"example.org/a": "b"},
				"cgroupPath":                        "/kubepods/x",
				"org.example.unheard":               []int{1},
			})
			c := r.container()
			c.add(known)
			c.del(known)
		}},
}
