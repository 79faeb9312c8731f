package netops

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// addressesOn are the addresses that a link has, but for link-local ones.
func addressesOn(s space, link string) (all []netip.Prefix) {
	s.Do(func() error {
		addrs, err := netlink.AddrList(named(s.T, link), netlink.FAMILY_ALL)
		for _, a := range addrs {
			p := netip.MustParsePrefix(a.IPNet.String())
			if !p.Addr().IsLinkLocalUnicast() {
				all = append(all, p)
			}
		}
		return err
	})
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// watchAddresses begins to listen to which addresses the kernel takes off links. gone waits for some of them, and gives all that it
// has heard of.
func watchAddresses(t *testing.T, s space) (gone func(until ...netip.Prefix) []netip.Prefix) {
	t.Helper()
	updates, done := make(chan netlink.AddrUpdate, 1000), make(chan struct{})
	t.Cleanup(func() { close(done) })
	s.Do(func() error { return netlink.AddrSubscribe(updates, done) })
	return func(until ...netip.Prefix) (all []netip.Prefix) {
		t.Helper()
		left := slices.Clone(until)
		for len(left) > 0 {
			select {
			case u := <-updates:
				if p := netip.MustParsePrefix(u.LinkAddress.String()); !u.NewAddr {
					all = append(all, p)
					left = slices.DeleteFunc(left, func(each netip.Prefix) bool { return each == p })
				}
			case <-time.After(patience):
				t.Fatalf("the kernel has taken off %v, and not %v", all, left)
			}
		}
		return all
	}
}

func wants(all ...string) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool { return slices.Contains(prefixes(all...), p) }
}

func TestWhatIsNotWantedOnABridgeAnyMoreIsTakenOffAndNothingElse(t *testing.T) {
	k, host := newHost(t)
	for _, b := range []Bridge{
		{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")},
		{Name: "berth0", Addresses: prefixes("10.42.0.9/16", "fd42::9/64")},
	} {
		_, err := k.EnsureBridge(b)
		must(t, err)
	}
	host.Give("berth0", "10.42.0.77/16", "192.0.2.1/24") // another's, in the same subnet and in another
	gone := watchAddresses(t, host)
	must(t, k.Withdraw(wants("10.42.0.9/16", "fd42::9/64")))
	for _, p := range gone(prefixes("10.42.0.1/16", "fd42::1/64")...) {
		if p.Addr() != netip.MustParseAddr("10.42.0.1") && p.Addr() != netip.MustParseAddr("fd42::1") {
			t.Errorf("%v was taken off, too, were it for a moment", p)
		}
	}
	want := prefixes("10.42.0.9/16", "10.42.0.77/16", "192.0.2.1/24", "fd42::9/64")
	if got := addressesOn(host, "berth0"); !slices.Equal(got, want) {
		t.Errorf("the bridge has %v, want %v", got, want)
	}
	// It is looked at anew, so that what somebody wants again comes back.
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")})
	must(t, err)
	if got := addressesOn(host, "berth0"); !slices.Contains(got, netip.MustParsePrefix("10.42.0.1/16")) {
		t.Errorf("the bridge has %v", got)
	}
	host.Do(func() error {
		routes, err := netlink.RouteList(named(t, "berth0"), netlink.FAMILY_V4)
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.String() == "10.42.0.0/16" }) {
			t.Errorf("the subnet is not reached over the bridge any more: %v", routes)
		}
		return err
	})
}

func TestAnAgentThatStartsKnowsWhichAddressesItsBridgesWereGiven(t *testing.T) {
	k, host := newHost(t)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")})
	must(t, err)
	var next *Kernel
	host.Do(func() (err error) { next, err = Open(); return err })
	defer next.Close()
	must(t, next.Withdraw(wants()))
	if got := addressesOn(host, "berth0"); len(got) > 0 {
		t.Errorf("the bridge has %v", got)
	}
}

func TestAGatewayOfAFormerReleaseIsMarkedAndAFormerOneIsTakenOffByName(t *testing.T) {
	k, host := newHost(t)
	host.Do(func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "berth0"}}) })
	host.Give("berth0", "10.42.0.1/16", "10.43.0.1/16")
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")})
	must(t, err)
	must(t, k.Withdraw(wants()))
	if got := addressesOn(host, "berth0"); !slices.Equal(got, prefixes("10.43.0.1/16")) {
		t.Errorf("the bridge has %v", got)
	}
	must(t, k.Withdraw(wants(), Placed{"berth0", netip.MustParsePrefix("10.43.0.1/16")}))
	if got := addressesOn(host, "berth0"); len(got) > 0 {
		t.Errorf("the bridge has %v", got)
	}
}
