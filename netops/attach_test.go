package netops

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/netops/sysctl"
)

func TestAContainerIsReachedByHostAndNeighbourInBothFamilies(t *testing.T) {
	k, host := newBridge(t)
	a, inA := newContainer(t, k, 1)
	b, inB := newContainer(t, k, 2)
	for i := range a.Addresses {
		if !hears(t, host, inA, a.Addresses[i].Addr(), patience) {
			t.Errorf("%v hears nothing from the host", a.Addresses[i])
		}
		if !hears(t, inA, inB, b.Addresses[i].Addr(), patience) {
			t.Errorf("%v hears nothing from %v", b.Addresses[i], a.Addresses[i])
		}
	}
}

func TestAttachMakesAllThatWasAskedFor(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, 1)
	p.MTU = 1400
	p.Routes = []Route{
		{To: netip.MustParsePrefix("10.99.0.0/16"), Via: netip.MustParseAddr("10.42.0.9")},
		{To: netip.MustParsePrefix("fd99::/32")},
	}
	made, err := k.Attach(p)
	must(t, err)
	if err := k.Check(p); err != nil {
		t.Error(err)
	}
	outer, inner := host.LinkAt(p.Name), inside.LinkAt("eth0")
	want := Attached{MAC: "be:00:0a:2a:00:03", MTU: 1400, Index: outer.Attrs().Index}
	want.HostMAC = outer.Attrs().HardwareAddr.String()
	if made != want {
		t.Errorf("answered %+v: want %+v", made, want)
	}
	if inner.Attrs().HardwareAddr.String() != want.MAC || inner.Attrs().MTU != 1400 {
		t.Errorf("inside is %+v", inner.Attrs())
	}
	ports, err := k.Ports()
	must(t, err)
	if !slices.Equal(ports, []PortInfo{{Name: p.Name, Alias: p.Alias, Bridge: "berth0", Index: made.Index}}) {
		t.Errorf("ports are %+v", ports)
	}
	if host.LinkAt("berth0").Attrs().MTU != 1500 {
		t.Error("the bridge's MTU followed the port's")
	}
}

func TestIPv6AddressesAreUsableAtOnceAndRoutersAreNotBelieved(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, 1)
	inside.Do(func() error { return sysctl.Set("1", sysctl.V6, "default", "disable_ipv6") })
	_, err := k.Attach(p)
	must(t, err)
	inside.Do(func() error {
		if is, err := sysctl.Read(sysctl.V6, "eth0", "accept_ra"); err != nil || is != "0" {
			t.Errorf("accept_ra is %q, error %v", is, err)
		}
		// Bind refuses an address that is still being checked for duplicates.
		server, err := net.ListenPacket("udp6", "[fd42::3]:0")
		if err == nil {
			server.Close()
		}
		return err
	})
	host.Do(func() error {
		link, err := netlink.LinkByName(p.Name)
		if err != nil {
			return err
		}
		if addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) }); err != nil ||
			len(addrs) > 0 {
			t.Errorf("the host's end has addresses %v, error %v", addrs, err)
		}
		return nil
	})
}

func TestAPoolWithAnMTUBelowIPv6sWorksForIPv4(t *testing.T) {
	k, host := newHost(t)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16"), MTU: 600})
	must(t, err)
	p, inside := newPort(t, 1)
	p.Addresses, p.Gateways = p.Addresses[:1], p.Gateways[:1]
	made, err := k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateful")))
	if made.MTU != 600 || !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Errorf("MTU %d, or no traffic", made.MTU)
	}
}

func TestAttachAgainGivesTheSameAnswerAndLeavesThePortAlone(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newPort(t, 1)
	first, err := k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateless")))
	second, err := k.Attach(p)
	must(t, err)
	classes, err := k.Classes()
	must(t, err)
	if first != second || classes[p.Name] != "stateless" {
		t.Errorf("answered %+v, then %+v; classes %v", first, second, classes)
	}
}

func TestAPortThatDiffersIsMadeAnewAndInNoClass(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	p.Addresses = prefixes("10.42.7.7/16")
	p.Gateways = p.Gateways[:1]
	_, err := k.Attach(p)
	must(t, err)
	must(t, k.Check(p))
	classes, err := k.Classes()
	must(t, err)
	if len(classes) != 0 {
		t.Errorf("classes %v: want none until Join", classes)
	}
}

func TestANewPortDoesNotInheritTheClassOfOneThatWentByItself(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, 1)
	host.Do(func() error { return netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p.Name}}) })
	_, err := k.Attach(p)
	must(t, err)
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("the host reaches a port that has not joined")
	}
}

func TestASecondInterfaceOfAContainerLeavesTheFirstOnesRoutes(t *testing.T) {
	k, _ := newBridge(t)
	first, inside := newPort(t, 1)
	second, _ := newPort(t, 2)
	second.Netns, second.Interface = inside.Open(), "eth1"
	for _, p := range []Port{first, second} {
		if _, err := k.Attach(p); err != nil {
			t.Fatalf("%s: %v", p.Interface, err)
		}
	}
	for _, p := range []Port{first, second} {
		if err := k.Check(p); err != nil {
			t.Errorf("%s: %v", p.Interface, err)
		}
	}
	if err := k.Detach(second.Name); err != nil {
		t.Fatal(err)
	}
	if err := k.Check(first); err != nil {
		t.Errorf("after the second has gone: %v", err)
	}
}

func TestAHundredContainersAttachAndDetachAtOnce(t *testing.T) {
	k, _ := newBridge(t)
	const n = 100
	var ports []Port
	for i := range n {
		p, _ := newPort(t, i)
		ports = append(ports, p)
	}
	each := func(f func(Port) error) {
		t.Helper()
		var all sync.WaitGroup
		errs := make(chan error, n)
		for _, p := range ports {
			all.Go(func() { errs <- f(p) })
		}
		all.Wait()
		for range n {
			must(t, <-errs)
		}
	}
	each(func(p Port) error {
		if _, err := k.Attach(p); err != nil {
			return err
		}
		return k.Join(member(p, "stateless"))
	})
	each(k.Check)
	present, err := k.Ports()
	must(t, err)
	classes, err := k.Classes()
	must(t, err)
	if len(present) != n || len(classes) != n {
		t.Fatalf("%d ports, %d in a class: want %d", len(present), len(classes), n)
	}
	each(func(p Port) error { return k.Detach(p.Name) })
	present, err = k.Ports()
	must(t, err)
	if len(present) != 0 {
		t.Errorf("%d ports are left", len(present))
	}
}

func TestAPortIsLookedForInTheHostsNamespace(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	if !k.HasPort(p.Name) {
		t.Error("a port that is there is not found")
	}
	must(t, k.Detach(p.Name))
	if k.HasPort(p.Name) {
		t.Error("a port that is gone is found")
	}
}

func TestPortNamesFitAndDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, a := range [][3]string{{"a", "b", "c"}, {"a", "b", "d"}, {"a", "c", "c"}, {"x", "b", "c"}} {
		name := PortName(a[0], a[1], a[2])
		if len(name) != 15 || !strings.HasPrefix(name, Prefix) || seen[name] != "" {
			t.Errorf("%v is called %q, as %v", a, name, seen[name])
		}
		seen[name] = fmt.Sprint(a)
	}
}

func TestAMACStaysWithTheAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.42.0.7": "be:00:0a:2a:00:07",
		"10.42.0.8": "be:00:0a:2a:00:08",
	} {
		v4, v6 := netip.MustParseAddr(text), netip.MustParseAddr("fd42::7")
		if got := MACFor([]netip.Addr{v6, v4}).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	a, b := MACFor([]netip.Addr{netip.MustParseAddr("fd42::7")}), MACFor([]netip.Addr{netip.MustParseAddr("fd42::8")})
	if a.String() == b.String() || a[0] != 0xbe || a[1]&0x80 == 0 {
		t.Errorf("of IPv6 addresses: %v, %v", a, b)
	}
}

func TestAPortThatIsMadeAnewPassesOnlyOnceItHasJoinedAnew(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newContainer(t, k, 1)
	host.Do(func() error { return netlink.LinkDel(named(t, p.Name)) })
	inside := newSpace(t)
	p.Netns = inside.Open()
	_, err := k.Attach(p)
	must(t, err)
	classes, err := k.Classes()
	must(t, err)
	if len(classes) != 0 {
		t.Errorf("classes %v: want none before Join", classes)
	}
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("it passes by what its predecessor had joined")
	}
	must(t, k.Join(member(p, "stateful")))
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("nothing passes after Join")
	}
}
