package netops

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// Diagnose describes the host's settings that keep containers from communicating.
func (k *Kernel) Diagnose() []string {
	var found []string
	err := rtnl.Within(k.home, func() error {
		found = append(found, diagnoseForwarding()...)
		found = append(found, diagnoseForwardFilter()...)
		found = append(found, diagnoseBridgeFilter()...)
		return nil
	})
	if !k.Leads() {
		found = append(found, "Containers of routed pools can send from addresses that are not theirs: this kernel does not tell where it "+
			"would lead to a source. Load nft_fib_inet, or build a kernel with CONFIG_NFT_FIB_INET, and restart berthd.")
	}
	if err != nil {
		found = append(found, fmt.Sprintf("The host's network namespace cannot be looked at: %v.", err))
	}
	return found
}

var families = [...]struct {
	name   string
	table  nftables.TableFamily
	sysctl string // of forwarding
	call   string // of br_netfilter: whether bridged packets pass the family's rules
	tool   string // that adds a rule to the former tables
}{
	{"IPv4", nftables.TableFamilyIPv4, sysctl.V4, "/proc/sys/net/bridge/bridge-nf-call-iptables", "iptables"},
	{"IPv6", nftables.TableFamilyIPv6, sysctl.V6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", "ip6tables"},
}

// diagnoseForwarding looks for pools that masquerade on a host that does not forward.
func diagnoseForwarding() (found []string) {
	for _, f := range families {
		forwards, err := sysctl.Read(f.sysctl, "all", "forwarding")
		if err != nil || forwards != "0" {
			continue
		}
		chains, err := (&nftables.Conn{}).ListChainsOfTableFamily(f.table)
		if err != nil {
			continue
		}
		for _, c := range chains {
			if c.Table.Name == fence.MasqueradeTable {
				found = append(found, fmt.Sprintf("Pools masquerade, but this host forwards no %s packets: "+
					"set %s/all/forwarding to 1.", f.name, f.sysctl))
				break
			}
		}
	}
	return found
}

// diagnoseForwardFilter looks for rules that drop what the host forwards to and from containers.
func diagnoseForwardFilter() (found []string) {
	for _, f := range families {
		for _, chain := range droppingChains(f.table) {
			found = append(found, fmt.Sprintf("%s drops the %s packets that no rule accepts, and what this host forwards for containers passes it: "+
				"all of routed pools, and what leaves a bridge. Accept it: %[3]s -I FORWARD -i bth+ -j ACCEPT and %[3]s -I FORWARD -o bth+ -j ACCEPT "+
				"for routed pools, the same with the bridge's name for a bridge.", chain, f.name, f.tool))
		}
	}
	return found
}

// diagnoseBridgeFilter looks for rules that are meant for routed packets and drop bridged ones.
func diagnoseBridgeFilter() (found []string) {
	const advice = "Accept what each bridge of Berth's forwards: %s -I FORWARD -i BRIDGE -o BRIDGE -j ACCEPT, or the like in nftables. " +
		"Do not switch %s off where kube-proxy runs: Services need it."
	for _, f := range families {
		if on, err := sysctl.Read(f.call); err != nil || on != "1" {
			continue
		}
		for _, chain := range droppingChains(f.table) {
			found = append(found, fmt.Sprintf("br_netfilter passes bridged %s packets through %s, whose policy is drop: "+
				"containers on one bridge cannot talk unless a rule accepts it. "+advice, f.name, chain, f.tool, f.call))
		}
		if legacy(f.table) {
			found = append(found, fmt.Sprintf("br_netfilter passes bridged %s packets through the legacy iptables table filter: "+
				"if its FORWARD policy is DROP, containers on one bridge cannot talk. "+advice, f.name, f.tool, f.call))
		}
	}
	return found
}

// droppingChains names the base chains of the forward hook that drop what no rule accepts.
func droppingChains(family nftables.TableFamily) (names []string) {
	for _, table := range [...]nftables.TableFamily{family, nftables.TableFamilyINet} {
		chains, err := (&nftables.Conn{}).ListChainsOfTableFamily(table)
		if err != nil {
			continue
		}
		for _, c := range chains {
			forward := c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward
			if forward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
				names = append(names, fmt.Sprintf("nftables chain %s of table %s", c.Name, c.Table.Name))
			}
		}
	}
	return names
}

// legacy reports whether the kernel has a filter table of the former iptables, which nftables cannot list.
func legacy(family nftables.TableFamily) bool {
	path := "/proc/thread-self/net/ip_tables_names"
	if family == nftables.TableFamilyIPv6 {
		path = "/proc/thread-self/net/ip6_tables_names"
	}
	names, _ := os.ReadFile(path)
	for name := range strings.FieldsSeq(string(names)) {
		if name == "filter" {
			return true
		}
	}
	return false
}
