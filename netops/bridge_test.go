package netops

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/netops/sysctl"
)

func TestABridgeIsMadeOnceAndKeepsItsMACAndMTU(t *testing.T) {
	k, host := newHost(t)
	want := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64"), MTU: 1450}
	first, err := k.EnsureBridge(want)
	must(t, err)
	p, _ := newPort(t, 1)
	p.MTU = 1300
	_, err = k.Attach(p)
	must(t, err)
	host.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{
			Name: "low", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1200,
		}, PeerName: "peer"})
	})
	host.Enslave("low", "berth0")
	second, err := k.EnsureBridge(want)
	must(t, err)
	attrs := host.LinkAt("berth0").Attrs()
	if first != second || attrs.HardwareAddr.String() != first.MAC || attrs.Index != first.Index || attrs.MTU != 1450 {
		t.Errorf("first %+v, then %+v; it is %+v", first, second, attrs)
	}
	host.Do(func() error {
		addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(named(t, "berth0"), netlink.FAMILY_V4) })
		if len(addrs) != 1 || !addrs[0].Broadcast.Equal(net.IPv4(10, 42, 255, 255)) {
			t.Errorf("addresses %v", addrs)
		}
		return err
	})
}

func TestWhoeverComesWhileABridgeIsMadeWaitsForTheWholeOne(t *testing.T) {
	k, _ := newHost(t)
	want := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")}
	states := make(chan BridgeState, 1000)
	var all sync.WaitGroup
	for range cap(states) {
		time.Sleep(time.Microsecond) // they come one after the other
		all.Go(func() {
			state, err := k.EnsureBridge(want)
			if err != nil {
				t.Error(err)
			}
			states <- state
		})
	}
	all.Wait()
	first := <-states
	for range cap(states) - 1 {
		if state := <-states; state != first || state.MAC == "" {
			t.Fatalf("answered %+v, and %+v", first, state)
		}
	}
}

func TestABridgeOfAnotherProcessIsUsedAsItIs(t *testing.T) {
	k, host := newHost(t)
	host.Do(func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br7", MTU: 1400}})
	})
	before := host.LinkAt("br7").Attrs()
	state, err := k.EnsureBridge(Bridge{Name: "br7"})
	must(t, err)
	host.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{
			Name: "low", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1400,
		}, PeerName: "peer"})
	})
	host.Enslave("low", "br7")
	after := host.LinkAt("br7").Attrs()
	kept := before.HardwareAddr.String() == state.MAC && after.HardwareAddr.String() == state.MAC
	if after.MTU != 1400 || after.Flags&net.FlagUp == 0 || !kept {
		t.Errorf("before %+v, answered %+v, after %+v", before, state, after)
	}
}

func TestABridgeIsPutRightAfterAChange(t *testing.T) {
	k, host := newHost(t)
	want := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")}
	ensure := func() {
		t.Helper()
		_, err := k.EnsureBridge(want)
		must(t, err)
	}
	right := func() bool {
		ensure()
		l := host.LinkAt("berth0")
		if l == nil || l.Attrs().Flags&net.FlagUp == 0 || l.Attrs().MTU != 1500 {
			return false
		}
		ok := false
		host.Do(func() error {
			addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_V4) })
			ok = len(addrs) == 1
			return err
		})
		return ok
	}
	ensure()
	for name, spoil := range map[string]func() error{
		"down":            func() error { return netlink.LinkSetDown(named(t, "berth0")) },
		"address removed": func() error { return netlink.AddrDel(named(t, "berth0"), addr("10.42.0.1/16")) },
		"removed":         func() error { return netlink.LinkDel(named(t, "berth0")) },
	} {
		host.Do(spoil)
		eventually(t, name+": it is put right", right)
	}
	want.MTU = 9000
	ensure()
	if mtu := host.LinkAt("berth0").Attrs().MTU; mtu != 9000 {
		t.Errorf("MTU %d: want the new one", mtu)
	}
}

func TestALinkThatIsNoBridgeIsRefused(t *testing.T) {
	k, _ := newHost(t)
	if _, err := k.EnsureBridge(Bridge{Name: "lo"}); !mentions(err, "want a bridge") {
		t.Errorf("error %v", err)
	}
}

func TestABridgeThatCannotBeCompletedIsTakenBack(t *testing.T) {
	k, host := newHost(t)
	for _, b := range []Bridge{
		{Name: "berth0", Uplink: "absent"},
		{Name: "berth0", Uplink: "lo"},
		{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "ff02::5/64")},
		{Name: "berth0", MTU: 70000},
		{Name: ""},
		{Name: "bth0"},
		{Name: "berth0123456789a"},
	} {
		if _, err := k.EnsureBridge(b); err == nil {
			t.Errorf("%+v was taken", b)
		}
		if names := host.Links(); len(names) != 1 {
			t.Errorf("after %+v the links are %v", b, names)
		}
	}
}

// outside joins a host to a network beyond it that knows no pool, and returns a namespace there.
func outside(t *testing.T, host space) space {
	t.Helper()
	s := newSpace(t)
	cable(t, host, "wan", s, "eth0")
	host.Give("wan", "192.0.2.1/24", "2001:db8::1/64")
	s.Give("eth0", "192.0.2.2/24", "2001:db8::2/64")
	return s
}

func TestWhatLeavesAMasqueradedPoolTakesTheHostsAddress(t *testing.T) {
	k, host := newHost(t)
	beyond := outside(t, host)
	for range 2 {
		_, err := k.EnsureBridge(Bridge{
			Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64"), Masquerade: prefixes("10.42.0.0/16", "fd42::/64"),
		})
		must(t, err)
		must(t, k.EnsureTable()) // forgets that all is well
	}
	_, inA := newContainer(t, k, 1)
	b, inB := newContainer(t, k, 2)
	for i, way := range []struct{ beyond, host, pool string }{
		{"192.0.2.2", "192.0.2.1", "10.42.0.0/16"}, {"2001:db8::2", "2001:db8::1", "fd42::/64"},
	} {
		if from := sender(t, inA, beyond, netip.MustParseAddr(way.beyond)); from != netip.MustParseAddr(way.host) {
			t.Errorf("%s is addressed by %v: want %s", way.beyond, from, way.host)
		}
		if from := sender(t, inA, inB, b.Addresses[i].Addr()); !netip.MustParsePrefix(way.pool).Contains(from) {
			t.Errorf("a neighbour is addressed by %v", from)
		}
	}
	host.Do(func() error {
		c := &nftables.Conn{}
		chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
		if err != nil {
			return err
		}
		for _, chain := range chains {
			if rules, err := c.GetRules(chain.Table, chain); err != nil || len(rules) != 1 {
				t.Errorf("%d rules, error %v: want one", len(rules), err)
			}
		}
		return nil
	})
}

func TestWhatStaysInTheMasqueradedPoolKeepsItsAddress(t *testing.T) {
	k, host := newHost(t)
	beyond := outside(t, host)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16"), Masquerade: prefixes("10.42.0.0/16")})
	must(t, err)
	beyond.Give("eth0", "10.42.200.1/24")
	over := netip.MustParsePrefix("10.42.200.0/24")
	host.Do(func() error {
		wan := named(t, "wan").Attrs().Index
		return netlink.RouteAdd(&netlink.Route{LinkIndex: wan, Dst: addr(over.String()).IPNet, Scope: netlink.SCOPE_LINK})
	})
	p, inside := newPort(t, 1)
	p.Addresses, p.Gateways = p.Addresses[:1], p.Gateways[:1]
	p.Routes = []Route{{To: over}}
	_, err = k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateless")))
	if from := sender(t, inside, beyond, over.Addr().Next()); from != p.Addresses[0].Addr() {
		t.Errorf("addressed by %v: want %v", from, p.Addresses[0])
	}
}

// sender is the source address by which a datagram arrives.
func sender(t *testing.T, from, to space, at netip.Addr) netip.Addr {
	t.Helper()
	source, _ := arrival(t, from, to, at, patience)
	return source
}

func TestForwardingKeepsTheHostsBeliefInItsRouters(t *testing.T) {
	k, host := newHost(t)
	outside(t, host)
	host.Do(func() error { return sysctl.Set("1", sysctl.V6, "wan", "accept_ra") })
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("fd42::1/64")})
	must(t, err)
	host.Do(func() error {
		for path, want := range map[string]string{"all/forwarding": "1", "wan/accept_ra": "2", "berth0/accept_ra": "0"} {
			if is, err := sysctl.Read(sysctl.V6, path); err != nil || is != want {
				t.Errorf("%s is %q, error %v: want %s", path, is, err, want)
			}
		}
		if is, err := sysctl.Read(sysctl.V4, "all", "forwarding"); err != nil || is != "0" {
			t.Errorf("IPv4 forwarding is %q, error %v: nobody asked for it", is, err)
		}
		return nil
	})
}
