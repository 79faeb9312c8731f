package netops

import (
	"strings"
	"testing"

	"github.com/google/nftables"

	"github.com/berth-ipam/berth/netops/sysctl"
)

func TestDiagnoseNamesForwardingThatIsOffUnderMasquerade(t *testing.T) {
	k, host := newHost(t)
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16"), Masquerade: prefixes("10.42.0.0/16")})
	must(t, err)
	if found := k.Diagnose(); len(found) != 0 {
		t.Errorf("%q: want nothing", found)
	}
	host.Do(func() error { return sysctl.Set("0", sysctl.V4, "all", "forwarding") })
	if found := k.Diagnose(); len(found) != 1 || !strings.Contains(found[0], "forwards no IPv4") {
		t.Errorf("%q: want one sentence about forwarding", found)
	}
}

func TestDiagnoseNamesAFirewallThatDropsBridgedPackets(t *testing.T) {
	k, host := newHost(t)
	host.Do(func() error {
		if _, err := sysctl.Read(families[0].call); err != nil {
			t.Skip("this kernel has no br_netfilter")
		}
		c, drop := &nftables.Conn{}, nftables.ChainPolicyDrop
		table := c.AddTable(&nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4})
		c.AddChain(&nftables.Chain{
			Name: "FORWARD", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop,
		})
		return c.Flush()
	})
	for value, want := range map[string]int{"0": 1, "1": 2} { // the first about what is forwarded, the second about what is bridged
		host.Do(func() error { return sysctl.Set(value, families[0].call) })
		found := k.Diagnose()
		if len(found) != want || !strings.Contains(found[0], "bth+") || !strings.Contains(found[want-1], "chain FORWARD of table filter") {
			t.Errorf("with bridge-nf-call-iptables %s: %q", value, found)
		}
	}
}
