package netops

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// newCabledHost is a host with a NIC "eth0" that serves addresses and routes of both families, at a switch.
func newCabledHost(t *testing.T, plug func(space, string), n int) (*Kernel, space) {
	t.Helper()
	k, host := newHost(t)
	plug(host, "eth0")
	host.Give("eth0", fmt.Sprintf("192.0.2.%d/24", n), fmt.Sprintf("192.0.2.%d/24", n+100), fmt.Sprintf("2001:db8::%x/64", n))
	host.Do(func() error {
		leased := addr("2001:db8:1::1/64")
		leased.ValidLft, leased.PreferedLft, leased.Flags = 1000, 500, unix.IFA_F_NODAD
		if err := netlink.AddrAdd(named(t, "eth0"), leased); err != nil {
			return err
		}
		eth0 := named(t, "eth0").Attrs().Index
		for _, r := range []*netlink.Route{
			{LinkIndex: eth0, Gw: net.ParseIP("192.0.2.254"), Priority: 100},
			{LinkIndex: eth0, Gw: net.ParseIP("2001:db8::ff"), Dst: addr("::/0").IPNet},
			{LinkIndex: eth0, Dst: addr("198.51.100.0/24").IPNet, Scope: netlink.SCOPE_LINK},
			{LinkIndex: eth0, Dst: addr("203.0.113.0/24").IPNet, Gw: net.ParseIP("198.51.100.7"), Table: 77},
			{Dst: addr("100.64.0.0/10").IPNet, MultiPath: []*netlink.NexthopInfo{
				{LinkIndex: eth0, Gw: net.ParseIP("192.0.2.250")}, {LinkIndex: eth0, Gw: net.ParseIP("192.0.2.251")}}},
		} {
			if err := netlink.RouteAdd(r); err != nil {
				return fmt.Errorf("%v: %w", r, err)
			}
		}
		return nil
	})
	return k, host
}

// heldBy are the addresses and routes of a link, but those that the kernel makes by itself for every link.
func heldBy(s space, link string) (all []string) {
	s.T.Helper()
	s.Do(func() error {
		l := named(s.T, link)
		addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				all = append(all, fmt.Sprintf("%v, forever %v", a.IPNet, a.Flags&unix.IFA_F_PERMANENT != 0))
			}
		}
		sock, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer sock.Close()
		over, err := rtnl.RoutesOver(sock, l.Attrs().Index)
		for _, r := range over {
			if !r.To.Addr().IsLinkLocalUnicast() {
				ends := false
				for kind, value := range rtnl.Attributes(r.Body[unix.SizeofRtMsg:]) {
					ends = ends || kind == unix.RTA_CACHEINFO && int32(binary.NativeEndian.Uint32(value[8:])) > 0
				}
				all = append(all, fmt.Sprintf("%v via %v in %d, ends %v", r.To, r.Via, r.Table, ends))
			}
		}
		return err
	})
	slices.Sort(all)
	return all
}

func TestAnUplinksAddressesAndRoutesMoveAndTheHostStaysReachable(t *testing.T) {
	plug := newSwitch(t)
	far := newSpace(t)
	plug(far, "eth0")
	far.Give("eth0", "192.0.2.200/24", "2001:db8::200/64")
	k, host := newCabledHost(t, plug, 1)
	before, mac := heldBy(host, "eth0"), host.LinkAt("eth0").Attrs().HardwareAddr.String()
	talk4 := conversation(t, host, far, "192.0.2.1")
	talk6 := conversation(t, host, far, "2001:db8::1")
	talk4()
	talk6()
	var state BridgeState
	for range 3 {
		var err error
		state, err = k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"})
		must(t, err)
		talk4()
		talk6()
	}
	if after := heldBy(host, "berth0"); !slices.Equal(after, before) {
		t.Errorf("the NIC had\n%s\nthe bridge has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if left := heldBy(host, "eth0"); len(left) != 0 {
		t.Errorf("the NIC still has %q", left)
	}
	if state.MAC != mac {
		t.Errorf("the bridge has MAC %s: want the NIC's, %s", state.MAC, mac)
	}
	for _, a := range []string{"192.0.2.1", "192.0.2.101", "2001:db8::1"} {
		if !hears(t, far, host, netip.MustParseAddr(a), patience) {
			t.Errorf("%s is not reached from far", a)
		}
	}
	if !hears(t, host, far, netip.MustParseAddr("192.0.2.200"), patience) {
		t.Error("the host does not reach far")
	}
}

func TestAnUplinkGetsNoAddressWhenItsCableIsPluggedInAgain(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"})
	must(t, err)
	host.Do(func() error {
		eth0 := named(t, "eth0")
		if err := netlink.LinkSetDown(eth0); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(eth0); err != nil {
			return err
		}
		addrs, err := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(eth0, netlink.FAMILY_ALL) })
		if len(addrs) != 0 {
			t.Errorf("it has %v", addrs)
		}
		return err
	})
}

// conversation opens a TCP connection to a host, and returns what says something over it and waits for the answer.
func conversation(t *testing.T, host, far space, at string) func() {
	t.Helper()
	var server net.Listener
	host.Do(func() (err error) { server, err = net.Listen("tcp", net.JoinHostPort(at, "0")); return err })
	t.Cleanup(func() { server.Close() })
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 1)
		for {
			if _, err := conn.Read(b); err != nil {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	var client net.Conn
	far.Do(func() (err error) { client, err = net.Dial("tcp", server.Addr().String()); return err })
	t.Cleanup(func() { client.Close() })
	return func() {
		t.Helper()
		if _, err := client.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUplinkThatCannotMoveWhollyIsLeftAsItWas(t *testing.T) {
	plug := newSwitch(t)
	far := newSpace(t)
	plug(far, "eth0")
	far.Give("eth0", "192.0.2.200/24", "2001:db8::200/64")
	k, host := newCabledHost(t, plug, 1)
	// The kernel keeps a route whose gateway is no longer on the link, but takes no such new one.
	host.Do(func() error {
		eth0 := named(t, "eth0").Attrs().Index
		return netlink.RouteDel(&netlink.Route{LinkIndex: eth0, Dst: addr("198.51.100.0/24").IPNet, Scope: netlink.SCOPE_LINK})
	})
	before := heldBy(host, "eth0")
	talk := conversation(t, host, far, "192.0.2.1")
	talk()
	for _, exists := range []bool{false, true} {
		if exists {
			_, err := k.EnsureBridge(Bridge{Name: "berth0"})
			must(t, err)
		}
		if _, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"}); !mentions(err, "route to 203.0.113.0/24") {
			t.Errorf("error %v: want one that names the route", err)
		}
		talk()
		if after := heldBy(host, "eth0"); !slices.Equal(after, before) {
			t.Errorf("the NIC had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
		if made := slices.Contains(host.Links(), "berth0"); made != exists {
			t.Errorf("a bridge is there: %v, before: %v", made, exists)
		}
	}
	if kept := heldBy(host, "berth0"); len(kept) != 0 || host.LinkAt("eth0").Attrs().MasterIndex != 0 {
		t.Errorf("the bridge has kept %q, or the NIC", kept)
	}
}

func TestAMoveThatFailsAtItsEndIsUndoneStepByStep(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	before := heldBy(host, "eth0")
	state, err := k.EnsureBridge(Bridge{Name: "berth0"})
	must(t, err)
	host.Do(func() error {
		s, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		nic, bridge := rtnl.Link{Index: named(t, "eth0").Attrs().Index}, rtnl.Link{Index: state.Index}
		steps, err := moveSteps(s, nic, bridge)
		if err != nil {
			return err
		}
		impossible := rtnl.PutAddress(nic.Index, rtnl.PlainAddress(netip.MustParsePrefix("ff02::5/64")), "add an impossible address")
		err = rtnl.CarryOut(s, append(steps, rtnl.Step{Do: impossible}))
		if !mentions(err, "impossible") || strings.Contains(err.Error(), "undo") {
			t.Errorf("error %v: want that of the last step alone", err)
		}
		return nil
	})
	if after := heldBy(host, "eth0"); !slices.Equal(after, before) {
		t.Errorf("the NIC had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if kept := heldBy(host, "berth0"); len(kept) != 0 {
		t.Errorf("the bridge has kept %q", kept)
	}
}

func TestAMoveThatWasKilledHalfWayIsCompleted(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	before := heldBy(host, "eth0")
	_, err := k.EnsureBridge(Bridge{Name: "berth0"})
	must(t, err)
	host.Enslave("eth0", "berth0")
	host.Give("berth0", "192.0.2.1/24")
	state, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"})
	must(t, err)
	nic, bridge := host.LinkAt("eth0").Attrs().HardwareAddr.String(), host.LinkAt("berth0").Attrs().HardwareAddr.String()
	if state.MAC != nic || bridge != nic {
		t.Errorf("the bridge has MAC %s, %s was answered: want the NIC's, %s", bridge, state.MAC, nic)
	}
	if after := heldBy(host, "berth0"); !slices.Equal(after, before) {
		t.Errorf("the NIC had\n%s\nthe bridge has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestAnUplinkThatIsTakenOrTooNarrowIsRefused(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	if _, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0", MTU: 9000}); !mentions(err, "MTU 1500", "9000") {
		t.Errorf("error %v", err)
	}
	host.Do(func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "taken"}}) })
	host.Enslave("eth0", "taken")
	if _, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0"}); !mentions(err, "port of another") {
		t.Errorf("error %v", err)
	}
}

func TestABridgeTooNarrowForIPv6TakesAnUplinkOfIPv4(t *testing.T) {
	plug := newSwitch(t)
	k, host := newHost(t)
	plug(host, "eth0")
	host.Give("eth0", "192.0.2.1/24")
	before := heldBy(host, "eth0")
	if _, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0", MTU: sysctl.MinimumV6 - 1}); err != nil {
		t.Fatal(err)
	}
	if after := heldBy(host, "berth0"); !slices.Equal(before, after) {
		t.Errorf("the bridge has %v, the NIC had %v", after, before)
	}
}
