package netops

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// TestWhatMasqueradesKeepsItsAddressInTheWholeCluster: a Service, a policy or a log on another node is to see the container's address.
func TestWhatMasqueradesKeepsItsAddressInTheWholeCluster(t *testing.T) {
	k, host := newHost(t)
	beyond := outside(t, host)
	beyond.Give("eth0", "10.44.0.9/16", "10.45.0.9/16", "10.46.0.9/16", "fd44::9/64")
	host.Give("wan", "10.44.0.1/16", "10.45.0.1/16", "10.46.0.1/16", "fd44::1/64")
	b := Bridge{
		Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64"), Masquerade: prefixes("10.42.0.0/16", "fd42::/64"),
		Cluster: prefixes("10.42.0.0/16", "10.44.0.0/16", "10.45.0.0/16", "fd42::/64", "fd44::/64"),
	}
	_, err := k.EnsureBridge(b)
	must(t, err)
	p, inside := newContainer(t, k, 1)
	expect := func(at string, own bool) {
		t.Helper()
		a := netip.MustParseAddr(at)
		from := sender(t, inside, beyond, a)
		if is := slices.ContainsFunc(p.Addresses, func(p netip.Prefix) bool { return p.Addr() == from }); is != own {
			t.Errorf("%s is addressed by %v: want the container's own: %v", at, from, own)
		}
	}
	for at, own := range map[string]bool{"10.44.0.9": true, "10.45.0.9": true, "10.46.0.9": false, "192.0.2.2": false, "fd44::9": true,
		"2001:db8::2": false} {
		expect(at, own)
	}
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Errorf("found %q where nothing is wrong", wrong)
	}
	b.Cluster = prefixes("10.42.0.0/16", "10.46.0.0/16", "fd42::/64")
	if wrong := kinds(t, k, b); !slices.Contains(wrong, "masquerade-gone") {
		t.Errorf("with other pools: found %q", wrong)
	}
	_, err = k.EnsureBridge(b)
	must(t, err)
	expect("10.46.0.9", true)
	expect("10.44.0.9", false)
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Errorf("afterwards %q", wrong)
	}
}

func TestARuleOfAFormerReleaseIsReplaced(t *testing.T) {
	k, host := newHost(t)
	b := Bridge{Name: "berth0", Masquerade: prefixes("10.42.0.0/16")}
	rules := func() (all []*nftables.Rule) {
		host.Do(func() (err error) {
			table := &nftables.Table{Name: "berth", Family: nftables.TableFamilyIPv4}
			all, err = (&nftables.Conn{}).GetRules(table, &nftables.Chain{Name: "masquerade", Table: table})
			return err
		})
		return all
	}
	host.Do(func() error {
		c := &nftables.Conn{}
		table := c.AddTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{Name: "masquerade", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Masq{}}, UserData: []byte("10.42.0.0/16")})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}, UserData: []byte("another's")})
		return c.Flush()
	})
	if wrong := kinds(t, k, b); !slices.Contains(wrong, "masquerade-gone") {
		t.Errorf("found %q", wrong)
	}
	for range 2 {
		_, err := k.EnsureBridge(b)
		must(t, err)
		must(t, k.EnsureTable())
	}
	if wrong := kinds(t, k, b); len(wrong) > 0 || len(rules()) != 2 {
		t.Errorf("afterwards %q, %d rules", wrong, len(rules()))
	}
	must(t, k.Retire(nil))
	if left := rules(); len(left) != 1 || string(left[0].UserData) != "another's" {
		t.Errorf("left are %v", fmt.Sprint(left))
	}
}
