package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// routed gives the cluster a routed pool of both families, and waits until the agent has it.
func (r *rig) routed() {
	r.t.Helper()
	r.apply(allocator.Pool{
		Name: "routed", Mode: allocator.Routed, CIDRs: prefixes("10.43.0.0/16", "fd43::/64"), Stateful: prefixes("10.43.0.0/20", "fd43::/112"),
	})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("routed"); return err == nil })
}

func (r *rig) inRouted(c wire.Container) wire.Container {
	c.Pool = "routed"
	return c
}

// led are the addresses to which this host has a route over a port.
func (r *rig) led(port string) (all []netip.Addr) {
	r.t.Helper()
	l, err := netlink.LinkByName(port)
	check(r.t, err)
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(l, family)
		check(r.t, err)
		for _, route := range routes {
			if route.Protocol == rtnl.RouteProto {
				addr, _ := netip.AddrFromSlice(route.Dst.IP)
				all = append(all, addr.Unmap())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func TestAContainerOfARoutedPoolIsBehindItsNodeWithoutABridge(t *testing.T) {
	r := newRig(t)
	r.routed()
	c := r.inRouted(r.stateless("a", "web"))
	c.Bridge, c.IPMasq = "berth0", true // as the shipped network has them: they mean nothing here
	response, err := r.ask(wire.Insert, c)
	check(t, err)
	got := response.Results[0]
	if got.Bridge != "" || len(got.Addresses) != 2 || len(got.Routes) != 2 {
		t.Errorf("the answer is %+v: want no bridge, and an address and a default route of each family", got)
	}
	for _, a := range got.Addresses {
		if !a.Address.IsSingleIP() || a.Gateway != allocator.RoutedGateways[allocator.FamilyOf(a.Gateway)] {
			t.Errorf("address %v with gateway %v: want it alone, and the gateway that is the same everywhere", a.Address, a.Gateway)
		}
	}
	_, err = r.ask(wire.Read, c)
	check(t, err)
	e := r.agent.Journal.Entries()[0]
	if led := r.led(e.Wiring.Port); !slices.Equal(led, e.Addresses) {
		t.Errorf("the host leads to %v: want %v", led, e.Addresses)
	}
	r.until("nobody lags", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
	r.change(func(config *config.Config) {
		p := config.Pools["routed"]
		p.MTU = 1400
		config.Pools["routed"] = p
	})
	r.until("the MTU is applied", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
	_, err = r.ask(wire.Read, c)
	check(t, err)
	r.restart()
	if again := r.add(c); again != e.Addresses[0] {
		t.Errorf("ADD again gives %v: want %v", again, e.Addresses[0])
	}
	r.del(c)
	r.empty()
}

func TestANetworkThatDoesNotFitARoutedPoolIsRefused(t *testing.T) {
	r := newRig(t)
	r.routed()
	uplink := r.inRouted(r.stateless("a", "web"))
	uplink.Uplink = "eth9"
	r.refused(wire.CodeConfig, uplink)
	r.refused(wire.CodeConfig, r.inRouted(r.ofIPAM("b")))
}

// A removed node may come back after its pool has got another mode, and etcd may be restored to before.
func TestARepeatedADDMakesNoContainerAnewInAnotherMode(t *testing.T) {
	r := newRig(t)
	r.routed()
	c := r.inRouted(r.stateless("a", "web"))
	r.add(c)
	e := *r.agent.Journal.Entries()[0]
	e.Wiring.Routed, e.Wiring.Bridge = false, "berth0"
	check(t, r.agent.Journal.Change(&e))
	before := link(t, e.Wiring.Port).Attrs().Index
	r.refused(wire.CodeConfig, c)
	if link(t, e.Wiring.Port).Attrs().Index != before || !r.passes(e.Wiring.Port) {
		t.Error("the running container has got another port, or is cut")
	}
}

func TestTheHostLeadsToNoIsolatedContainer(t *testing.T) {
	r := newRig(t)
	r.routed()
	c := r.inRouted(r.stateful("a", "db", "db-0"))
	r.add(c)
	e := r.agent.Journal.Entries()[0]
	r.agent.isolator.Isolate(e.Attachment, isolation.LostFor(e, "its address is another's"))
	if led := r.led(e.Wiring.Port); len(led) > 0 {
		t.Errorf("the host leads to %v, which another may have by now", led)
	}
	r.agent.updater.Host.Look()
	if led := r.led(e.Wiring.Port); len(led) > 0 {
		t.Errorf("the host leads to %v again after a look at it", led)
	}
}

func TestWhatDisappearsUnderRoutedContainersIsReportedAndPutBack(t *testing.T) {
	r := newRig(t)
	r.routed()
	c := r.inRouted(r.stateless("a", "web"))
	r.add(c)
	e := r.agent.Journal.Entries()[0]
	r.until("the host was looked at", func() bool { return !r.agent.updater.Host.Look() })
	for kind, spoil := range map[string]func() error{
		"port-down": func() error { return netlink.LinkSetDown(link(t, e.Wiring.Port)) },
		"port-unrouted": func() error {
			routes, err := netlink.RouteList(link(t, e.Wiring.Port), netlink.FAMILY_V4)
			check(t, err)
			defer r.agent.updater.Host.Changed()
			return netlink.RouteDel(&routes[0])
		},
	} {
		check(t, spoil())
		r.until(kind+" was told", func() bool { return r.stood(kind) })
		r.until(kind+": all is well again", func() bool { return len(r.wrong()) == 0 })
		if led := r.led(e.Wiring.Port); !slices.Equal(led, e.Addresses) {
			t.Errorf("%s: the host leads to %v: want %v", kind, led, e.Addresses)
		}
	}
}

func TestALostJournalLosesNoRoutedContainer(t *testing.T) {
	r := newRig(t)
	r.routed()
	c := r.inRouted(r.stateful("a", "db", "db-0"))
	addr := r.add(c)
	r.loseJournal()
	r.begin()
	r.until("it is taken in", func() bool { return r.agent.Journal.Get(attachmentOf(c)) != nil })
	e := r.agent.Journal.Get(attachmentOf(c))
	if !e.Wiring.Routed || !r.passes(e.Wiring.Port) {
		t.Fatalf("it is taken in as %+v", e.Wiring)
	}
	if again := r.add(c); again != addr {
		t.Errorf("after the loss it has %v: want %v", again, addr)
	}
	r.del(c)
}
