package agent

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

// nic makes a link that stands for this machine's NIC, with an address in 192.0.2.0/24.
func nic(t *testing.T, name, address string) netlink.Link {
	t.Helper()
	made := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	check(t, netlink.LinkAdd(made))
	t.Cleanup(func() { _ = netlink.LinkDel(made) })
	check(t, netlink.LinkSetUp(made))
	a, err := netlink.ParseAddr(address)
	check(t, err)
	check(t, netlink.AddrAdd(made, a))
	return made
}

// leads gives this machine its default route over a link.
func leads(t *testing.T, over netlink.Link) {
	t.Helper()
	check(t, netlink.RouteReplace(&netlink.Route{LinkIndex: over.Attrs().Index, Gw: net.IPv4(192, 0, 2, 254), Priority: 9}))
}

// behind gives the cluster a pool in a mode, and waits until the agent has it.
func (r *rig) behind(mode allocator.Mode, change ...func(*allocator.Pool)) {
	r.t.Helper()
	p := allocator.Pool{Name: "routed", Mode: mode, CIDRs: prefixes("10.43.0.0/16", "fd43::/64")}
	for _, f := range change {
		f(&p)
	}
	r.apply(p)
	r.until("the agent has the pool", func() bool { p, _, err := r.agent.Pool("routed"); return err == nil && p.Mode == mode })
}

// brought waits until the version says that all containers have the configuration.
func (r *rig) brought() {
	r.t.Helper()
	r.until("the version is complete", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
}

// hasMTU reports whether both ends of a container's link have an MTU, and the journal says it.
func (r *rig) hasMTU(c wire.Container, want int) bool {
	r.t.Helper()
	e := r.agent.Journal.Get(attachmentOf(c))
	outer, err := net.InterfaceByName(e.Wiring.Port)
	check(r.t, err)
	return mtu(r.t, c) == want && outer.MTU == want && e.Wiring.MTU == want
}

// fits adds a container, and has it have an MTU on both ends and in the answer.
func (r *rig) fits(c wire.Container, want int) {
	r.t.Helper()
	response, err := r.ask(wire.Insert, c)
	check(r.t, err)
	if got := response.Results[0].MTU; got != want || !r.hasMTU(c, want) {
		r.t.Errorf("the answer says MTU %d, and the container has %d, %+v: want %d on both ends", got, mtu(r.t, c),
			r.agent.Journal.Get(attachmentOf(c)).Wiring, want)
	}
}

func TestContainersHaveWhatFitsBetweenNodesAndFollowIt(t *testing.T) {
	for mode, less := range map[allocator.Mode]int{allocator.Routed: 0, allocator.VXLAN: 50, allocator.Auto: 50} {
		t.Run(mode.String(), func(t *testing.T) {
			uplink := nic(t, "nodes0", "192.0.2.1/24")
			check(t, netlink.LinkSetMTU(uplink, 1600))
			leads(t, uplink)
			r := newRig(t)
			r.patience /= 2 // less than until the next look without an event
			r.behind(mode)
			a, b := r.inRouted(r.stateless("a", "web")), r.inRouted(r.stateless("b", "web"))
			r.fits(a, 1600-less)
			for _, to := range []int{1400, 1500, 1700} {
				check(t, netlink.LinkSetMTU(uplink, to))
				r.until("the running container has it", func() bool { return r.hasMTU(a, to-less) })
				_, err := r.ask(wire.Read, a)
				check(t, err)
			}
			r.fits(b, 1700-less)
			r.brought()
			check(t, netlink.LinkSetMTU(uplink, 1279+less))
			r.until("a pool with IPv6 is told", func() bool { return r.finding("path-mtu-too-small", "routed") != "" })
			if e := r.refused(wire.CodeTryAgain, r.inRouted(r.stateless("c", "web"))); !strings.Contains(e.Error(), "only 1279 fits") {
				t.Errorf("error %v: want what fits", e)
			}
			if !r.hasMTU(a, 1700-less) {
				t.Error("a running container has lost its IPv6")
			}
			check(t, netlink.LinkSetMTU(uplink, 1500))
			r.until("the running container has it", func() bool { return r.hasMTU(a, 1500-less) })
			r.until("nothing is told", func() bool { return len(r.wrong()) == 0 })
		})
	}
}

func TestTheVersionSaysWhichContainersDoNotFollowThePath(t *testing.T) {
	uplink := nic(t, "nodes0", "192.0.2.1/24")
	leads(t, uplink)
	r := newRig(t)
	r.behind(allocator.Routed)
	c := r.inRouted(r.stateless("a", "web"))
	r.fits(c, 1500)
	r.brought()
	whole := *r.agent.Journal.Get(attachmentOf(c))
	hidden := whole
	hidden.Netns, hidden.Inode = "/nowhere", 1
	check(t, r.agent.Journal.Change(&hidden))
	check(t, netlink.LinkSetMTU(uplink, 1400))
	var v *wire.SetVersion
	r.until("the version names it", func() bool {
		response, err := r.send(&wire.Request{Operation: wire.Read, Select: &wire.Select{App: "ns/web"}})
		check(t, err)
		v = response.Set
		return len(v.Containers) == 1 && strings.Contains(v.Containers[0].Reason, "/nowhere")
	})
	if v.Complete || v.UpToDate != 0 || v.Total != 1 {
		t.Errorf("version %+v: want it incomplete", v)
	}
	check(t, r.agent.Journal.Change(&whole))
	r.until("the container has it", func() bool { return r.hasMTU(c, 1400) })
	r.until("the version is complete", func() bool {
		response, err := r.send(&wire.Request{Operation: wire.Read, Select: &wire.Select{App: "ns/web"}})
		check(t, err)
		return response.Set.Complete && response.Set.UpToDate == 1
	})
}

func TestAContainerWhoseADDIsUnderWayFollowsThePath(t *testing.T) {
	uplink := nic(t, "nodes0", "192.0.2.1/24")
	leads(t, uplink)
	r := newRig(t)
	r.behind(allocator.Routed)
	c := r.inRouted(r.stateless("a", "web"))
	add := r.onTheWay(c)
	check(t, netlink.LinkSetMTU(uplink, 1400))
	r.until("what fits is known", func() bool {
		p, _, err := r.agent.Pool("routed")
		check(t, err)
		fitted, err := r.agent.host.Fitted(p)
		check(t, err)
		return fitted.MTU == 1400
	})
	r.brought()
	if response := add.end(nil); response.Error != nil {
		t.Fatal(response.Error)
	}
	r.until("it has what fits", func() bool { return r.hasMTU(c, 1400) })
}

func TestALostAddressChangesNoMTU(t *testing.T) {
	uplink := nic(t, "nodes0", "192.0.2.1/24")
	check(t, netlink.LinkSetMTU(uplink, 1400))
	leads(t, uplink)
	r := newRig(t)
	r.behind(allocator.VXLAN)
	a, b := r.inRouted(r.stateless("a", "web")), r.inRouted(r.stateless("b", "web"))
	r.fits(a, 1350)
	check(t, netlink.LinkDel(uplink))
	r.until("the address is away", func() bool { mtu, err := r.agent.kernel.PathMTU(true); check(t, err); return mtu == 0 })
	r.agent.updater.Host.Look()
	r.fits(b, 1350)
	r.restart() // nothing is known any more but what containers have
	r.agent.updater.Host.Look()
	r.brought()
	for _, c := range []wire.Container{a, b} {
		if !r.hasMTU(c, 1350) {
			t.Errorf("container %s has MTU %d: want what it had", c.ID, mtu(t, c))
		}
	}
	unknown := r.inRouted(r.stateless("c", "web"))
	response, err := r.ask(wire.Insert, unknown)
	check(t, err)
	if got := response.Results[0].MTU; got != 1500 || mtu(t, unknown) != 1500 {
		t.Errorf("where nothing is known the answer says MTU %d, and the container has %d: want 1500", got, mtu(t, unknown))
	}
}

func TestANodesGivenAddressSaysWhatFits(t *testing.T) {
	uplink, given := nic(t, "nodes0", "192.0.2.1/24"), nic(t, "nodes1", "198.51.100.1/24")
	leads(t, uplink)
	check(t, netlink.LinkSetMTU(given, 1400))
	r := newRig(t)
	r.patience /= 2 // less than until the next look without an event
	r.behind(allocator.Routed)
	c := r.inRouted(r.stateless("a", "web"))
	r.fits(c, 1500)
	r.stop()
	r.options = func(o *Options) {
		o.Address, o.Hops = "198.51.100.1", []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	}
	r.start()
	r.until("it has what fits by the given address", func() bool { return r.hasMTU(c, 1400) })
}

func TestContainersFollowWhereTheNodesAddressIsOnAnotherLink(t *testing.T) {
	former, next := nic(t, "nodes0", "192.0.2.1/24"), nic(t, "nodes1", "198.51.100.1/24")
	leads(t, former)
	check(t, netlink.LinkSetMTU(next, 1400))
	r := newRig(t)
	r.patience /= 2 // less than until the next look without an event
	r.behind(allocator.Routed)
	c := r.inRouted(r.stateless("a", "web"))
	r.fits(c, 1500)
	check(t, netlink.RouteReplace(&netlink.Route{LinkIndex: next.Attrs().Index, Gw: net.IPv4(198, 51, 100, 254), Priority: 8}))
	another, err := netlink.ParseAddr("203.0.113.1/24") // of a new address the kernel tells; of a route by somebody else it does not
	check(t, err)
	check(t, netlink.AddrAdd(next, another))
	r.until("it has what fits by the node's address now", func() bool { return r.hasMTU(c, 1400) })
}

// A container of a release that knew no path was made without an MTU.
func TestTheFirstRollOutOfThisReleaseDisturbsNoContainerOfAFormerOne(t *testing.T) {
	uplink := nic(t, "nodes0", "192.0.2.1/24")
	r := newRig(t)
	r.behind(allocator.Routed)
	c := r.inRouted(r.stateless("a", "web"))
	r.add(c)
	if e := r.agent.Journal.Get(attachmentOf(c)); e.Wiring.MTU != 0 || mtu(t, c) != 1500 {
		t.Fatalf("the container is wired as %+v and has MTU %d: want it as a former release made it", e.Wiring, mtu(t, c))
	}
	leads(t, uplink)
	hidden := *r.agent.Journal.Get(attachmentOf(c))
	netns, inode := hidden.Netns, hidden.Inode
	hidden.Netns, hidden.Inode = "/nowhere", 1 // nobody can change what is in it
	check(t, r.agent.Journal.Change(&hidden))
	r.restart()
	r.until("what fits is known", func() bool {
		p, _, err := r.agent.Pool("routed")
		fitted, failed := r.agent.host.Fitted(p)
		return err == nil && failed == nil && fitted.MTU == 1500
	})
	r.change(func(c *config.Config) { c.Settings.Session *= 2 }) // a roll-out that knows what fits
	r.brought()
	if len(r.wrong()) > 0 || mtu(t, c) != 1500 {
		t.Errorf("it has MTU %d, and is told: %q", mtu(t, c), r.wrong())
	}
	whole := *r.agent.Journal.Get(attachmentOf(c))
	whole.Netns, whole.Inode = netns, inode
	check(t, r.agent.Journal.Change(&whole))
	check(t, netlink.LinkSetMTU(uplink, 1400))
	r.until("it follows the path", func() bool { return r.hasMTU(c, 1400) })
}
