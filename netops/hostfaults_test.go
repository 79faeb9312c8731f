package netops

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// kinds are those of what is wrong with a bridge and its ports.
func kinds(t *testing.T, k *Kernel, b Bridge, ports ...string) (all []string) {
	t.Helper()
	found, err := k.HostFaults(b, ports)
	must(t, err)
	for _, f := range found {
		if !slices.Contains(HostFaultKinds, f.Kind) || f.Text == "" {
			t.Errorf("the fault %+v is of no known kind, or has no text", f)
		}
		all = append(all, f.Kind)
	}
	return all
}

// awaitChange reads the kernel's news until one says that the host may have changed.
func awaitChange(t *testing.T, k *Kernel) { next(t, k, HostChanged) }

func TestWhatDisappearsFromTheHostIsReportedAndPutBack(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(port string) error
		kinds []string
	}{
		"the bridge is deleted": {func(string) error { return netlink.LinkDel(named(t, "berth0")) }, []string{"bridge-gone"}},
		"the bridge is down":    {func(string) error { return netlink.LinkSetDown(named(t, "berth0")) }, []string{"bridge-down", "gateway-gone"}},
		"the gateway is gone": {func(string) error { return netlink.AddrDel(named(t, "berth0"), addr("10.42.0.1/16")) },
			[]string{"gateway-gone"}},
		"a port is off the bridge": {func(port string) error { return netlink.LinkSetNoMaster(named(t, port)) }, []string{"port-off"}},
		"a port is down":           {func(port string) error { return netlink.LinkSetDown(named(t, port)) }, []string{"port-down"}},
		"the rule is flushed": {func(string) error {
			c := &nftables.Conn{}
			c.DelTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyIPv4})
			return c.Flush()
		}, []string{"masquerade-gone"}},
		"the ruleset is flushed": {func(string) error { c := &nftables.Conn{}; c.FlushRuleset(); return c.Flush() },
			[]string{"masquerade-gone", "masquerade-gone"}},
		"ip_forward is reset": {func(string) error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) },
			[]string{"forwarding-off"}},
		"IPv6 forwarding is reset": {func(string) error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0)
		}, []string{"forwarding-off"}},
		"the bridge forwards no more": {func(string) error {
			return os.WriteFile("/proc/sys/net/ipv4/conf/berth0/forwarding", []byte("0"), 0)
		}, []string{"forwarding-off"}},
	} {
		t.Run(name, func(t *testing.T) {
			k, host := newHost(t)
			b := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64"), Masquerade: prefixes("10.42.0.0/16", "fd42::/64")}
			before, err := k.EnsureBridge(b)
			must(t, err)
			p, inside := newContainer(t, k, 1)
			if !hears(t, inside, host, netip.MustParseAddr("10.42.0.1"), patience) {
				t.Fatal("the container does not reach its host")
			}
			drain(k)
			if wrong := kinds(t, k, b, p.Name); len(wrong) > 0 {
				t.Fatalf("found %q where nothing is wrong", wrong)
			}
			host.Do(func() error { return c.spoil(p.Name) })
			awaitChange(t, k)
			got := kinds(t, k, b, p.Name)
			for _, kind := range c.kinds {
				if !slices.Contains(got, kind) {
					t.Errorf("found %q, want %q", got, c.kinds)
				}
			}
			after, err := k.EnsureBridge(b)
			must(t, err)
			must(t, k.RepairPorts(b, []string{p.Name}))
			must(t, k.EnsureTable())
			if wrong := kinds(t, k, b, p.Name); len(wrong) > 0 {
				t.Errorf("afterwards %q", wrong)
			}
			if after.MAC != before.MAC {
				t.Errorf("the bridge has MAC %s, and its neighbours know %s", after.MAC, before.MAC)
			}
			if !hears(t, inside, host, netip.MustParseAddr("10.42.0.1"), patience) {
				t.Error("the container does not reach its host any more")
			}
		})
	}
}

// drain reads what the kernel has told by now.
func drain(k *Kernel) {
	for {
		select {
		case <-k.Events():
		case <-time.After(silence):
			return
		}
	}
}

func TestWhatTheHostHadOnABridgeComesBackWithIt(t *testing.T) {
	for name, spoil := range map[string]func() error{
		"deleted": func() error { return netlink.LinkDel(named(t, "berth0")) },
		"down":    func() error { return netlink.LinkSetDown(named(t, "berth0")) },
	} {
		t.Run(name, func(t *testing.T) {
			plug := newSwitch(t)
			far := newSpace(t)
			plug(far, "eth0")
			far.Give("eth0", "192.0.2.200/24", "2001:db8::200/64")
			k, host := newCabledHost(t, plug, 1)
			b := Bridge{Name: "berth0", Uplink: "eth0"}
			_, err := k.EnsureBridge(b)
			must(t, err)
			if wrong := kinds(t, k, b); len(wrong) > 0 {
				t.Fatalf("found %q where nothing is wrong", wrong)
			}
			before := heldBy(host, "berth0")
			host.Do(spoil)
			if wrong := kinds(t, k, b); len(wrong) == 0 {
				t.Fatal("nothing is found")
			}
			_, err = k.EnsureBridge(b)
			must(t, err)
			if after := heldBy(host, "berth0"); !slices.Equal(after, before) {
				t.Errorf("the host had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			if wrong := kinds(t, k, b); len(wrong) > 0 {
				t.Errorf("afterwards %q", wrong)
			}
			if !hears(t, far, host, netip.MustParseAddr("192.0.2.1"), patience) {
				t.Error("the host is not reached any more")
			}
		})
	}
}

func TestAnUplinkOutOfItsBridgeIsReportedAndPutBack(t *testing.T) {
	plug := newSwitch(t)
	far := newSpace(t)
	plug(far, "eth0")
	far.Give("eth0", "192.0.2.200/24")
	k, host := newCabledHost(t, plug, 1)
	b := Bridge{Name: "berth0", Uplink: "eth0"}
	_, err := k.EnsureBridge(b)
	must(t, err)
	drain(k)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Fatalf("found %q where nothing is wrong", wrong)
	}
	host.Do(func() error { return netlink.LinkSetNoMaster(named(t, "eth0")) })
	awaitChange(t, k)
	if got := kinds(t, k, b); !slices.Equal(got, []string{"uplink-out"}) {
		t.Errorf("found %q", got)
	}
	_, err = k.EnsureBridge(b)
	must(t, err)
	if got := kinds(t, k, b); len(got) > 0 {
		t.Errorf("afterwards %q", got)
	}
	if !hears(t, far, host, netip.MustParseAddr("192.0.2.1"), patience) {
		t.Error("the host is not reached any more")
	}
}

func TestWhatOnlyAPersonCanRepairNamesWhatToDo(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	b := Bridge{Name: "berth0", Uplink: "eth0"}
	_, err := k.EnsureBridge(b)
	must(t, err)
	p, _ := newContainer(t, k, 1)
	other := func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other"}}) }
	host.Do(other)
	master := func(link, bridge string) func() error {
		return func() error { return netlink.LinkSetMaster(named(t, link), named(t, bridge)) }
	}
	rename := func(from, to string) func() error {
		return func() error {
			l := named(t, from)
			if err := netlink.LinkSetDown(l); err != nil {
				return err
			}
			if err := netlink.LinkSetName(l, to); err != nil {
				return err
			}
			return netlink.LinkSetUp(l)
		}
	}
	for _, c := range []struct {
		kind     string
		do, undo func() error
		says     string
	}{
		{"uplink-down", func() error { return netlink.LinkSetDown(named(t, "eth0")) },
			func() error { return netlink.LinkSetUp(named(t, "eth0")) }, "ip link set eth0 up"},
		{"uplink-elsewhere", master("eth0", "other"), master("eth0", "berth0"), "ip link set eth0 master berth0"},
		{"port-elsewhere", master(p.Name, "other"), master(p.Name, "berth0"), "master berth0"},
		{"uplink-renamed", rename("eth0", "ens3"), rename("ens3", "eth0"), "ens3"},
	} {
		host.Do(c.do)
		found, err := k.HostFaults(b, []string{p.Name})
		must(t, err)
		if len(found) != 1 || found[0].Kind != c.kind || !strings.Contains(found[0].Advice, c.says) {
			t.Errorf("found %+v, want %s and what to do: %s", found, c.kind, c.says)
		}
		if _, err := k.EnsureBridge(b); err != nil && c.kind != "uplink-elsewhere" {
			t.Errorf("%s: a container cannot be attached any more: %v", c.kind, err)
		}
		if found, _ := k.HostFaults(b, []string{p.Name}); len(found) != 1 {
			t.Errorf("%s: somebody's decision was undone, or more was done: %+v", c.kind, found)
		}
		host.Do(c.undo)
		must(t, k.RepairPorts(b, []string{p.Name})) // who puts a port back by hand does not make it hairpin
		if wrong := kinds(t, k, b, p.Name); len(wrong) > 0 {
			t.Errorf("%s: afterwards %q", c.kind, wrong)
		}
	}
}

func TestAddAndDeleteTellNoChangeOfTheHost(t *testing.T) {
	k, _ := newBridge(t)
	for i := range 3 {
		p, _ := newContainer(t, k, i)
		must(t, k.Detach(p.Name))
	}
	drain(k)
	for i := range 20 {
		p, _ := newContainer(t, k, i)
		must(t, k.Detach(p.Name))
	}
	n := 0
	for {
		select {
		case e := <-k.Events():
			if e.Kind == HostChanged {
				n++
			}
			continue
		case <-time.After(silence):
		}
		break
	}
	if n > 2 {
		t.Errorf("the host is looked at %d times for 20 containers that come and go", n)
	}
}

func TestABridgeThatFillsUpIsReportedAndAFullOneSaysSo(t *testing.T) {
	k, host := newHost(t)
	b := Bridge{Name: "berth0"}
	_, err := k.EnsureBridge(b)
	must(t, err)
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			host.Do(func() error {
				return netlink.LinkAdd(&netlink.Veth{
					LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("a%d", i), MasterIndex: named(t, "berth0").Attrs().Index},
					PeerName:  fmt.Sprintf("b%d", i),
				})
			})
		}
	}
	fill(0, nearlyFull-1)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Errorf("found %q on a bridge with %d ports", wrong, nearlyFull-1)
	}
	fill(nearlyFull-1, maxPorts)
	if wrong := kinds(t, k, b); !slices.Equal(wrong, []string{"bridge-full"}) {
		t.Errorf("found %q on a full bridge", wrong)
	}
	p, inside := newPort(t, 1)
	if _, err := k.Attach(p); !mentions(err, "bridge berth0 has 1023 ports", "another bridge") {
		t.Errorf("ADD to a full bridge says %v", err)
	}
	if left := inside.Links(); len(left) != 1 || host.LinkAt(p.Name) != nil {
		t.Errorf("left are %q", left)
	}
}

func TestAPoolsMTUDoesNotChangeTheHostsOwn(t *testing.T) {
	plug := newSwitch(t)
	k, host := newHost(t)
	plug(host, "eth0")
	host.Do(func() error { return netlink.LinkSetMTU(named(t, "eth0"), 9000) })
	for _, mtu := range []int{1500, 0, 1400} {
		_, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0", MTU: mtu})
		must(t, err)
		if is := host.LinkAt("berth0").Attrs().MTU; is != 9000 {
			t.Errorf("a pool of MTU %d makes the bridge's %d: it is the host's, 9000", mtu, is)
		}
	}
	host.Do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br7", MTU: 9000}})
	})
	_, err := k.EnsureBridge(Bridge{Name: "br7", MTU: 1500})
	must(t, err)
	if is := host.LinkAt("br7").Attrs().MTU; is != 9000 {
		t.Errorf("another's bridge has MTU %d, it was 9000", is)
	}
	for _, mtu := range []int{1500, 9000, 1400} {
		_, err := k.EnsureBridge(Bridge{Name: "own", MTU: mtu})
		must(t, err)
		if is := host.LinkAt("own").Attrs().MTU; is != mtu {
			t.Errorf("a bridge of our own has MTU %d, the pool's is %d", is, mtu)
		}
	}
}
