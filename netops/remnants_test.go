package netops

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// census is what a host has of links, addresses, routes and tables.
func census(t *testing.T, host space) (all []string) {
	t.Helper()
	for _, link := range host.Links() {
		all = append(all, "link "+link)
		for _, held := range heldBy(host, link) {
			all = append(all, link+": "+held)
		}
	}
	host.Do(func() error {
		tables, err := (&nftables.Conn{}).ListTables()
		for _, table := range tables {
			all = append(all, "table "+table.Name)
		}
		routes, listErr := netlink.RouteList(nil, netlink.FAMILY_ALL)
		for _, r := range routes {
			if r.Protocol == 98 {
				all = append(all, "route "+r.Dst.String())
			}
		}
		if err == nil {
			err = listErr
		}
		return err
	})
	slices.Sort(all)
	return all
}

// cleaned removes all remnants of a host.
func cleaned(t *testing.T, host space) (kinds []string) {
	t.Helper()
	host.Do(func() error {
		all, err := Remnants("")
		must(t, err)
		for _, r := range all {
			kinds = append(kinds, r.Kind)
			must(t, r.Remove())
		}
		return nil
	})
	return kinds
}

func TestWhatWasPutOnAHostIsTakenAwayAndTheHostIsAsBefore(t *testing.T) {
	plug := newSwitch(t)
	k, host := newCabledHost(t, plug, 1)
	k.Close()
	host.Do(func() error { c := &nftables.Conn{}; c.FlushRuleset(); return c.Flush() })
	before := census(t, host)
	reopened := func() (k *Kernel) {
		host.Do(func() (err error) { k, err = Open(); return err })
		return k
	}
	k = reopened()
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Uplink: "eth0", Subnets: prefixes("10.45.0.0/16", "fd45::/64")})
	must(t, err)
	_, err = k.EnsureBridge(Bridge{Name: "berth1", Addresses: prefixes("10.44.0.1/16", "fd44::1/64"), Masquerade: prefixes("10.44.0.0/16")})
	must(t, err)
	_, err = k.SetRouting(Routing{Pools: prefixes("10.43.0.0/16", "fd43::/64"),
		Hops: map[netip.Prefix]Hop{netip.MustParsePrefix("10.43.1.0/26"): {Via: netip.MustParseAddr("192.0.2.250")}}})
	must(t, err)
	newRouted(t, k, 7)
	p, _ := newPort(t, 8)
	_, err = k.Attach(p)
	must(t, err)
	k.Close()
	kinds := cleaned(t, host)
	for _, kind := range []string{RemnantPort, RemnantUplink, RemnantBridge, RemnantAddress, RemnantRoute, RemnantTable} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no %s was found: %v", kind, kinds)
		}
	}
	if after := census(t, host); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if kinds := cleaned(t, host); len(kinds) > 0 {
		t.Errorf("there is still %v", kinds)
	}
}

func TestABridgeWithPortsOfOthersStays(t *testing.T) {
	k, host := newHost(t)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")})
	must(t, err)
	k.Close()
	cable(t, host, "tap0", newSpace(t), "eth0")
	host.Enslave("tap0", "berth0")
	host.Do(func() error {
		all, err := Remnants("")
		must(t, err)
		stays := slices.IndexFunc(all, func(r Remnant) bool { return r.Kind == RemnantBridge })
		if stays < 0 || !strings.Contains(all[stays].Stays, "tap0") {
			t.Errorf("%+v: want that the bridge stays for tap0", all)
		}
		for _, r := range all {
			must(t, r.Remove())
		}
		return nil
	})
	if !slices.Contains(host.Links(), "berth0") {
		t.Error("the bridge is gone, and with it tap0 is cut off")
	}
}
