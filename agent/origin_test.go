package agent

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/lease/config"
)

// A container with an address that it was not given is heard under it only where its pool says antiSpoof: false.
func TestAContainerIsHeardUnderItsOwnAddressesUnlessItsPoolTrustsIt(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	own, further := r.add(c), netip.MustParseAddr("10.42.0.200")
	check(t, sandbox.Within(c.Netns, func() error {
		l, err := netlink.LinkByName(c.Interface)
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(further.String() + "/16")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(l, a)
	}))
	expect := func(when string, trusted bool) {
		t.Helper()
		found, err := r.agent.Kernel().Probe(t.Context(), r.agent.Journal.Entries()[0].Wiring.Bridge, []netip.Addr{own, further})
		check(t, err)
		if found[own] == nil || (found[further] != nil) != trusted {
			t.Errorf("%s: %v answer: want its own address, and the further one: %t", when, found, trusted)
		}
	}
	expect("added", false)
	no := false
	for _, step := range []struct {
		antiSpoof *bool
		trusted   bool
	}{{&no, true}, {nil, false}} {
		r.change(func(c *config.Config) {
			p := c.Pools["default"]
			p.AntiSpoof = step.antiSpoof
			c.Pools["default"] = p
		})
		r.until("the change is applied", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
		expect("changed", step.trusted)
		e := r.agent.Journal.Entries()[0]
		check(t, r.agent.Kernel().Leave(e.Wiring.Port))
		r.agent.isolator.Uncut(e.Attachment)
		expect("cut, and let pass again", step.trusted)
		check(t, r.agent.Kernel().EnsureTable())
		r.restart()
		expect("restarted", step.trusted)
	}
	e := *r.agent.Journal.Entries()[0]
	e.Wiring.Trusted = true // as an agent before this one may have let it pass
	check(t, r.agent.Kernel().Join(plan.Member(&e)))
	expect("trusted by mistake", true)
	r.restart()
	expect("restarted", false)
}
