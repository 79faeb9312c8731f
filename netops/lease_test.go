package netops

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// leased adds an address to a link as a DHCP client does, for some seconds.
func leased(t *testing.T, link, prefix string, seconds int) error {
	a := addr(prefix)
	a.ValidLft, a.PreferedLft = seconds, seconds
	return netlink.AddrReplace(named(t, link), a)
}

// lifetimes are those of a link's addresses, in seconds; 0: forever.
func lifetimes(s space, link string) map[string]int {
	s.T.Helper()
	all := map[string]int{}
	s.Do(func() error {
		addrs, err := netlink.AddrList(named(s.T, link), netlink.FAMILY_V4)
		for _, a := range addrs {
			if all[a.IPNet.String()] = a.ValidLft; a.Flags&unix.IFA_F_PERMANENT != 0 {
				all[a.IPNet.String()] = 0
			}
		}
		return err
	})
	return all
}

func TestALeaseThatIsRenewedOnTheNICLivesOnOnTheBridge(t *testing.T) {
	plug := newSwitch(t)
	k, host := newHost(t)
	plug(host, "eth0")
	host.Do(func() error {
		if err := leased(t, "eth0", "192.0.2.1/24", 100); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: named(t, "eth0").Attrs().Index, Gw: net.ParseIP("192.0.2.254")})
	})
	b := Bridge{Name: "berth0", Uplink: "eth0"}
	ensure := func() { t.Helper(); _, err := k.EnsureBridge(b); must(t, err) }
	ensure()
	routes := heldBy(host, "berth0")
	expect := func(what, nic, prefix string, atLeast int) {
		t.Helper()
		left, has := lifetimes(host, "eth0"), lifetimes(host, "berth0")
		if fmt.Sprint(left) != nic || has[prefix] < atLeast {
			t.Errorf("%s: the NIC has %v, want %s; the bridge has %v, want %s for %d s", what, left, nic, has, prefix, atLeast)
		}
	}
	expect("moved", "map[]", "192.0.2.1/24", 90)
	for range 2 { // the client renews, and puts its default route anew
		drain(k)
		if wrong := kinds(t, k, b); len(wrong) > 0 {
			t.Fatalf("found %q where nothing is wrong", wrong)
		}
		host.Do(func() error {
			if err := leased(t, "eth0", "192.0.2.1/24", 1000); err != nil {
				return err
			}
			return netlink.RouteAppend(&netlink.Route{LinkIndex: named(t, "eth0").Attrs().Index, Gw: net.ParseIP("192.0.2.254")})
		})
		awaitChange(t, k)
		if got := kinds(t, k, b); !slices.Equal(got, []string{"uplink-address"}) {
			t.Errorf("found %q", got)
		}
		ensure()
		expect("renewed", "map[]", "192.0.2.1/24", 990)
		if now := heldBy(host, "berth0"); !slices.Equal(now, routes) {
			t.Errorf("the bridge has %q, it had %q", now, routes)
		}
	}
	host.Do(func() error { return leased(t, "eth0", "192.0.2.7/24", 500) })
	ensure()
	expect("another lease", "map[]", "192.0.2.7/24", 490)
}

func TestAnAddressThatOthersAddToTheNICStaysTheirs(t *testing.T) {
	plug := newSwitch(t)
	far := newSpace(t)
	plug(far, "eth0")
	far.Give("eth0", "192.0.2.200/24")
	k, host := newHost(t)
	plug(host, "eth0")
	host.Give("eth0", "192.0.2.1/24", "192.0.2.2/24", "192.0.2.99/32") // the last is a virtual router's
	b := Bridge{Name: "berth0", Uplink: "eth0"}
	ensure := func() { t.Helper(); _, err := k.EnsureBridge(b); must(t, err) }
	ensure()
	expect := func(what, nic, bridge string) {
		t.Helper()
		if n, b := fmt.Sprint(lifetimes(host, "eth0")), fmt.Sprint(lifetimes(host, "berth0")); n != nic || b != bridge {
			t.Errorf("%s: the NIC has %s, want %s; the bridge has %s, want %s", what, n, nic, b, bridge)
		}
	}
	own := "map[192.0.2.1/24:0 192.0.2.2/24:0]"
	expect("at first", "map[192.0.2.99/32:0]", own)
	host.Give("eth0", "192.0.2.98/32", "192.0.2.97/24")
	ensure()
	expect("two more", "map[192.0.2.97/24:0 192.0.2.98/32:0 192.0.2.99/32:0]", own)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Errorf("found %q: these are others' to decide", wrong)
	}
	for _, a := range []string{"192.0.2.99", "192.0.2.98", "192.0.2.97", "192.0.2.1"} {
		if !hears(t, far, host, netip.MustParseAddr(a), patience) {
			t.Errorf("%s is not reached", a)
		}
	}
	host.Do(func() error {
		for _, a := range []string{"192.0.2.99/32", "192.0.2.98/32", "192.0.2.97/24"} {
			if err := netlink.AddrDel(named(t, "eth0"), addr(a)); err != nil {
				return fmt.Errorf("who added %s cannot take it away: %w", a, err)
			}
		}
		return nil
	})
	ensure()
	expect("and gone", "map[]", own)
}

func TestALeaseThatNobodyRenewsIsReported(t *testing.T) {
	plug := newSwitch(t)
	k, host := newHost(t)
	plug(host, "eth0")
	host.Do(func() error { return leased(t, "eth0", "192.0.2.1/24", 1000) })
	b := Bridge{Name: "berth0", Uplink: "eth0"}
	_, err := k.EnsureBridge(b)
	must(t, err)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Fatalf("found %q", wrong)
	}
	host.Do(func() error { return leased(t, "berth0", "192.0.2.1/24", 100) })
	if wrong := kinds(t, k, b); !slices.Equal(wrong, []string{"lease-not-renewed"}) {
		t.Errorf("found %q, and the lease ends in 100 s of 1,000", wrong)
	}
}
