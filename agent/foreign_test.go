package agent

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// uplinked is a rig whose host has a NIC, up0, and the pool tiny without a gateway; behind the NIC is a host with addresses that
// nobody gave.
func uplinked(t *testing.T, addresses ...string) (r *rig, onUplink func(id string) wire.Container) {
	r, onUplink, _ = behindUplink(t, addresses...)
	return r, onUplink
}

// behindUplink is uplinked, and takeOff takes an address off the host behind the NIC.
func behindUplink(t *testing.T, addresses ...string) (r *rig, onUplink func(id string) wire.Container, takeOff func(address string)) {
	r = newRig(t)
	r.apply(allocator.Pool{Name: "tiny", CIDRs: prefixes("10.7.0.0/28"), BlockSize: allocator.BlockSize{V4: 28}})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("tiny"); return err == nil })
	at := r.space()
	ns, err := netns.GetFromPath(at)
	check(t, err)
	defer ns.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0", Flags: net.FlagUp}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	check(t, netlink.LinkAdd(pair))
	t.Cleanup(func() {
		_ = netlink.LinkDel(pair)
		if b, err := netlink.LinkByName("brup0"); err == nil {
			_ = netlink.LinkDel(b)
		}
	})
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	check(t, err)
	defer inside.Close()
	peer, err := inside.LinkByName("eth0")
	check(t, err)
	check(t, inside.LinkSetUp(peer))
	for _, a := range addresses {
		parsed, err := netlink.ParseAddr(a)
		check(t, err)
		check(t, inside.AddrAdd(peer, parsed))
	}
	onUplink = func(id string) wire.Container {
		c := r.tiny(id)
		c.Bridge, c.Uplink = "brup0", "up0"
		return c
	}
	index := peer.Attrs().Index
	return r, onUplink, func(address string) {
		r.t.Helper()
		ns, err := netns.GetFromPath(at)
		check(r.t, err)
		defer ns.Close()
		inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		check(r.t, err)
		defer inside.Close()
		parsed, err := netlink.ParseAddr(address)
		check(r.t, err)
		check(r.t, inside.AddrDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}, parsed))
	}
}

// freeUnasked is how many addresses of the pool tiny the wire is still to be asked for.
func (r *rig) freeUnasked() (n int) {
	r.agent.addresses.Pools.With(tiny, func(s *allocator.Space) { n = len(s.Unasked(100)) })
	return n
}

func TestTheAddressOfAHostBehindTheUplinkIsGivenToNobody(t *testing.T) {
	r, c := uplinked(t, "10.7.0.1/28", "10.7.0.9/28")
	got := []netip.Addr{r.add(c("first"))}
	r.until("the wire was asked for the whole part, ahead of need", func() bool { return r.freeUnasked() == 0 })
	for i := range 11 { // of 14 usable addresses two are hosts'
		got = append(got, r.add(c(fmt.Sprint("c", i))))
	}
	for _, host := range []string{"10.7.0.1", "10.7.0.9"} {
		if slices.Contains(got, netip.MustParseAddr(host)) {
			t.Errorf("a container has got %s: %v", host, got)
		}
	}
}

// toldOfProxies reports whether proxy ARP is told.
func (r *rig) toldOfProxies() bool {
	return slices.ContainsFunc(r.agent.Findings.List(), func(f record.NodeFinding) bool { return f.Kind == "proxy-arp" })
}

// everything is what the pool tiny has, each by itself: where one goes the others stay.
func everything() (all []string) {
	for i := 1; i < 15; i++ {
		all = append(all, fmt.Sprintf("10.7.0.%d/32", i))
	}
	return all
}

func TestOneThatAnswersForEverythingIsProxyARPAndToldAndIgnored(t *testing.T) {
	r, c := uplinked(t, everything()...)
	r.add(c("a"))
	if !r.toldOfProxies() {
		t.Errorf("nothing is told: %v", r.agent.Findings.List())
	}
	r.until("the wire was asked for the whole part", func() bool { return r.freeUnasked() == 0 })
	if r.agent.detector.Proxies.Recheck(t.Context()); !r.toldOfProxies() {
		t.Error("it still answers for everything, and is told no more")
	}
}

func TestOneThatDoesNotAnswerForEverythingAnyMoreIsAHostLikeAnyOther(t *testing.T) {
	r, c, takeOff := behindUplink(t, everything()...)
	r.add(c("a"))
	r.until("the wire was asked for the whole part", func() bool { return r.toldOfProxies() && r.freeUnasked() == 0 })
	left := map[string]bool{}
	for _, address := range everything() { // two stay, of those that no container has
		addr := netip.MustParsePrefix(address).Addr()
		if r.agent.Journal.Holder("tiny", addr) == nil && len(left) < 2 {
			left[addr.String()] = true
		} else {
			takeOff(address)
		}
	}
	r.until("it is told no more", func() bool { return !r.toldOfProxies() })
	r.until("the wire was asked again", func() bool { return r.freeUnasked() == 0 })
	for i := range 14 - 1 - len(left) {
		if got := r.add(c(fmt.Sprint("c", i))); left[got.String()] {
			t.Errorf("a container has got %s, which a host has", got)
		}
	}
}

func TestWhereTheWireIsNotAskedAnyMoreNobodyIsToldOfProxies(t *testing.T) {
	r, c := uplinked(t, everything()...)
	r.add(c("a"))
	r.until("it is told", r.toldOfProxies)
	r.change(func(c *config.Config) { c.Settings.Probe = record.ProbeOff })
	r.until("it is told no more", func() bool { return !r.toldOfProxies() })
}

func TestASettingSwitchesTheAskingOff(t *testing.T) {
	r, c := uplinked(t, "10.7.0.1/28")
	r.change(func(c *config.Config) { c.Settings.Probe = record.ProbeOff })
	r.until("the agent knows", func() bool { return r.agent.Config().Settings.Probe == record.ProbeOff })
	r.add(c("a"))
	if r.freeUnasked() != 0 {
		t.Error("the wire is to be asked")
	}
	r.change(func(c *config.Config) { c.Settings.Probe = "" })
	r.until("and asked again when it is on", func() bool {
		quarantined := 0
		r.agent.addresses.Pools.With(tiny, func(s *allocator.Space) { quarantined = s.Counts().Quarantined })
		return r.freeUnasked() == 0 && quarantined > 0 || r.agent.Journal.Holder("tiny", netip.MustParseAddr("10.7.0.1")) != nil
	})
}
