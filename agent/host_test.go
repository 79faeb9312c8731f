package agent

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// wrong are the kinds of what the node says is wrong, with their subjects.
func (r *rig) wrong() (all []string) {
	for _, f := range r.agent.Findings.List() {
		all = append(all, f.Kind+" "+f.Subject)
	}
	return all
}

// stood reports whether a finding of a kind has ever stood.
func (r *rig) stood(kind string) bool {
	_, ever := r.agent.Findings.Counts()[kind]
	return ever
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	check(t, err)
	return l
}

func TestWhatDisappearsUnderContainersIsReportedAndPutBack(t *testing.T) {
	r := newRig(t)
	r.patience = 3 * time.Minute // where this comes upon that without a pause, the host is looked at ever less often
	c := r.stateless("a", "")
	c.IPMasq = true
	r.add(c)
	e := r.agent.Journal.Entries()[0]
	port := e.Wiring.Port
	r.until("the host was looked at", func() bool { return !r.agent.updater.Host.Look() })
	for kind, spoil := range map[string]func() error{
		"bridge-gone":    func() error { return netlink.LinkDel(link(t, "berth0")) },
		"bridge-down":    func() error { return netlink.LinkSetDown(link(t, "berth0")) },
		"port-off":       func() error { return netlink.LinkSetNoMaster(link(t, port)) },
		"port-down":      func() error { return netlink.LinkSetDown(link(t, port)) },
		"forwarding-off": func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) },
		"masquerade-gone": func() error {
			c := &nftables.Conn{}
			c.DelTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyIPv4})
			return c.Flush()
		},
		"gateway-gone": func() error {
			return netlink.AddrDel(link(t, "berth0"), &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 42, 0, 1), Mask: net.CIDRMask(16, 32)}})
		},
		"table-changed": func() error { c := &nftables.Conn{}; c.FlushRuleset(); return c.Flush() },
	} {
		check(t, spoil())
		r.until(kind+" was told", func() bool { return r.stood(kind) })
		r.until(kind+": all is well again", func() bool { return len(r.wrong()) == 0 && r.checks(c) == nil })
		classes, err := r.agent.Kernel().Classes()
		check(t, err)
		if classes[port] != string(allocator.Stateless) {
			t.Errorf("%s: the port is in class %q", kind, classes[port])
		}
	}
	r.restart()
	r.until("nothing is wrong", func() bool { return len(r.wrong()) == 0 })
}

func TestWhatDisappearedWhileTheAgentWasAwayIsPutBackAtItsStart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "")
	r.add(c)
	r.stop()
	check(t, netlink.LinkDel(link(t, "berth0")))
	r.start()
	r.until("the container is whole", func() bool { return r.checks(c) == nil && len(r.wrong()) == 0 })
	if !r.stood("bridge-gone") {
		t.Error("nobody was told")
	}
}

func TestAPortOfAFormerReleaseIsHairpinAfterTheStart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "")
	r.add(c)
	port := r.agent.Journal.Entries()[0].Wiring.Port
	r.stop()
	check(t, netlink.LinkSetHairpin(link(t, port), false))
	r.start()
	r.until("the port is hairpin", func() bool {
		info, err := netlink.LinkGetProtinfo(link(t, port))
		return err == nil && info.Hairpin && len(r.wrong()) == 0
	})
}

func TestNetworksThatContradictEachOtherAreRefusedBeforeAnythingIsChanged(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", ""))
	check(t, sandbox.Namespace("/run/netns/beyond"))
	t.Cleanup(func() { _ = sandbox.Remove("/run/netns/beyond") })
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nic7"}, PeerName: "far7"}))
	t.Cleanup(func() { _ = netlink.LinkDel(link(t, "nic7")) })
	other := r.stateless("b", "")
	other.Network, other.Uplink = "other", "nic7"
	e := r.refused(wire.CodeConfig, other)
	for _, word := range []string{`"net"`, `"other"`, "bridge berth0", "nic7"} {
		if !strings.Contains(e.Error(), word) {
			t.Errorf("the refusal %q does not name %s", e.Error(), word)
		}
	}
	if l := link(t, "nic7"); l.Attrs().MasterIndex != 0 {
		t.Error("the uplink was put into the bridge")
	}
	other.Uplink, other.IPMasq = "", true
	r.refused(wire.CodeConfig, other)
	other.IPMasq, other.Bridge = false, "berth9"
	r.refused(wire.CodeConfig, other)
	if _, err := netlink.LinkByName("berth9"); err == nil {
		t.Error("the second bridge was made")
	}
}

func TestAChangedConfigurationThatContradictsIsAFinding(t *testing.T) {
	r := newRig(t)
	second := allocator.Pool{Name: "second", CIDRs: prefixes("10.43.0.0/24"), Gateways: []netip.Addr{netip.MustParseAddr("10.43.0.1")},
		MTU: 1400}
	r.apply(second)
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("second"); return err == nil })
	r.add(r.stateless("a", ""))
	b := r.stateless("b", "")
	b.Network, b.Pool = "other", "second"
	r.add(b)
	before := link(t, "berth0").Attrs().MTU
	r.change(func(c *config.Config) {
		p := c.Pools["default"]
		p.MTU = 1300
		c.Pools["default"] = p
	})
	r.until("the contradiction is told", func() bool { return slices.Contains(r.wrong(), "bridge-contradiction berth0") })
	if f := r.agent.Findings.List()[0]; !strings.Contains(f.Text, `"net"`) || !strings.Contains(f.Text, `"other"`) || f.Advice == "" {
		t.Errorf("the finding is %+v", f)
	}
	if mtu := link(t, "berth0").Attrs().MTU; mtu != before { // 1400 for one network, 1300 for the other
		t.Errorf("the bridge's MTU is %d now, it was %d", mtu, before)
	}
	r.change(func(c *config.Config) {
		p := c.Pools["default"]
		p.MTU = 1400
		c.Pools["default"] = p
	})
	r.until("it has ended", func() bool { return len(r.wrong()) == 0 })
}

func TestAContainerThatWasRearrangedLagsWithTheReasonAndIsTriedOnce(t *testing.T) {
	r := newRig(t)
	a, b := r.stateless("a", ""), r.stateless("b", "")
	r.add(a)
	r.add(b)
	port := netops.PortName("net", "b", "eth0")
	before := link(t, port).Attrs().MTU
	check(t, sandbox.Within(b.Netns, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(l); err != nil {
			return err
		}
		return netlink.LinkSetName(l, "eth0-nic")
	}))
	r.change(func(c *config.Config) {
		p := c.Pools["default"]
		p.MTU = 1350
		c.Pools["default"] = p
	})
	var lag record.Lag
	r.until("the other has it, and this one lags", func() bool {
		status := r.agent.updater.Status()
		if len(status.Lagging) == 1 {
			lag = status.Lagging[0]
		}
		return len(status.Lagging) == 1 && status.Revision == r.agent.Config().Revision
	})
	if lag.Attachment.Container != "b" || !strings.Contains(lag.Reason, "eth0-nic") || !strings.Contains(lag.Reason, "made anew") {
		t.Errorf("it lags: %+v", lag)
	}
	if mtu := link(t, port).Attrs().MTU; mtu != before {
		t.Errorf("half of it was done: the port has MTU %d, it was %d", mtu, before)
	}
	if n := r.agent.updater.Status().RemakeCount; n != 1 {
		t.Errorf("%d containers are known not to be reached", n)
	}
}

func TestCheckToleratesWhatALaterPluginHasTakenAway(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "")
	response, err := r.ask(wire.Insert, c)
	check(t, err)
	last := response.Results[0]
	check(t, sandbox.Within(c.Netns, func() error {
		return netlink.RouteDel(&netlink.Route{Gw: netip.MustParseAddr("10.42.0.1").AsSlice()})
	}))
	c.Previous = &last
	if err := r.checks(c); err == nil {
		t.Error("a route is missing that the last answer names, and CHECK is content")
	}
	chain := last
	chain.Routes = nil
	c.Previous = &chain
	if err := r.checks(c); err != nil {
		t.Errorf("a later plugin has taken a route away, and says so: %v", err)
	}
}

// checks is CHECK of a container.
func (r *rig) checks(c wire.Container) error {
	_, err := r.ask(wire.Read, c)
	return err
}
