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
	"github.com/berth-ipam/berth/lease"
)

// uplinked is a rig whose host has a NIC, up0, and the pool tiny without a gateway; behind the NIC is a host with addresses that
// nobody gave.
func uplinked(t *testing.T, addresses ...string) (r *rig, onUplink func(id string) wire.Container) {
	r = newRig(t)
	r.apply(allocator.Pool{Name: "tiny", CIDRs: prefixes("10.7.0.0/28"), BlockSize: allocator.BlockSize{V4: 28}})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.pool("tiny"); return err == nil })
	ns, err := netns.GetFromPath(r.space())
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
	return r, func(id string) wire.Container {
		c := r.tiny(id)
		c.Bridge, c.Uplink = "brup0", "up0"
		return c
	}
}

// freeUnasked is how many addresses of the pool tiny the wire is still to be asked for.
func (r *rig) freeUnasked() (n int) {
	r.agent.pools.with(tiny, func(s *allocator.Space) { n = len(s.Unasked(100)) })
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

func TestOneThatAnswersForEverythingIsProxyARPAndToldAndIgnored(t *testing.T) {
	var all []string
	for i := 1; i < 15; i++ {
		all = append(all, fmt.Sprintf("10.7.0.%d/28", i))
	}
	r, c := uplinked(t, all...)
	r.add(c("a"))
	told := false
	for _, f := range r.agent.findings.List() {
		told = told || f.Kind == proxyARP
	}
	if !told {
		t.Errorf("nothing is told: %v", r.agent.findings.List())
	}
}

func TestASettingSwitchesTheAskingOff(t *testing.T) {
	r, c := uplinked(t, "10.7.0.1/28")
	r.change(func(c *lease.Config) { c.Settings.Probe = lease.ProbeOff })
	r.until("the agent knows", func() bool { return r.agent.config.Load().Settings.Probe == lease.ProbeOff })
	r.add(c("a"))
	if r.freeUnasked() != 0 {
		t.Error("the wire is to be asked")
	}
	r.change(func(c *lease.Config) { c.Settings.Probe = "" })
	r.until("and asked again when it is on", func() bool {
		quarantined := 0
		r.agent.pools.with(tiny, func(s *allocator.Space) { quarantined = s.Counts().Quarantined })
		return r.freeUnasked() == 0 && quarantined > 0 || r.agent.journal.Holder("tiny", netip.MustParseAddr("10.7.0.1")) != nil
	})
}
