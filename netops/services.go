package netops

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/google/nftables"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// A Service's rules rewrite where a packet goes (DNAT). What one container of a bridge sends to another, or by a Service to itself, is
// bridged and meets no rule of IP unless br_netfilter passes it: the question to a Service, or the answer of an endpoint on the same
// bridge, would go its way unchanged. So where such rules exist, bridged packets have to pass them. What they lead from outside to a
// container has to be forwarded, also where the bridge has an uplink and what is bridged needs no forwarding.

// A marker is a chain, or a whole table, by which rules that rewrite packets are known.
type marker struct {
	who          string
	table, chain string // chain empty: the table's existence tells
	uplink       bool   // only with an uplink: without one the containers' answers pass the host anyway
}

var markers = [...]marker{
	{who: "kube-proxy", table: "nat", chain: "KUBE-SERVICES"},
	{who: "kube-proxy", table: "kube-proxy"},
	{who: "portmap", table: "nat", chain: "CNI-HOSTPORT-DNAT", uplink: true},
}

// servedBy picks whose rules need bridged packets, by what exists; nobody's: empty.
func servedBy(uplink bool, exists func(marker) (bool, error)) (who string, err error) {
	for _, m := range markers {
		if m.uplink && !uplink {
			continue
		}
		if is, err := exists(m); err != nil || is {
			return m.who, err
		}
	}
	return "", nil
}

// A bypass is a family in which the rules of somebody do not do what they are for.
type bypass struct {
	family, call, who string
	of                netip.Prefix // a subnet of the family
	around            bool         // bridged packets do not pass the rules
	absent            bool         // for this kernel has no br_netfilter
	stays             bool         // the host does not forward: what the rules lead to a container stays there
}

// bypasses looks for those of a bridge. It runs in the host's namespace, and costs next to nothing where all packets pass.
func bypasses(b Bridge) (found []bypass, err error) {
	for _, f := range families {
		of := func(p netip.Prefix) bool { return p.Addr().Is4() == (f.table == nftables.TableFamilyIPv4) }
		subnets := slices.Concat(b.Addresses, b.Subnets)
		i := slices.IndexFunc(subnets, of)
		if i < 0 {
			continue
		}
		on, err := sysctl.Read(f.call)
		absent := errors.Is(err, fs.ErrNotExist)
		if err != nil && !absent {
			return found, err
		}
		forwards, err := sysctl.Read(f.sysctl, "all", "forwarding")
		if err != nil {
			return found, err
		}
		if on == "1" && forwards == "1" {
			continue
		}
		who, err := servedBy(b.Uplink != "", func(m marker) (bool, error) { return m.exists(f.table) })
		if err != nil {
			return found, err
		}
		if who != "" {
			found = append(found, bypass{f.name, f.call, who, subnets[i], on != "1", absent, forwards == "0"})
		}
	}
	return found, nil
}

// exists reports whether nftables, iptables over it, or legacy iptables has the marker: a chain with rules, or the table.
func (m marker) exists(f nftables.TableFamily) (bool, error) {
	is, err := m.inNftables(f)
	if err != nil || is || m.chain == "" {
		return is, err
	}
	return legacyChain(f, m.chain)
}

func (m marker) inNftables(f nftables.TableFamily) (bool, error) {
	c := &nftables.Conn{}
	tables, err := c.ListTablesOfFamily(f)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == m.table }) {
		return false, nil
	}
	if m.chain == "" {
		return true, nil
	}
	table := &nftables.Table{Name: m.table, Family: f}
	rules, err := c.GetRules(table, &nftables.Chain{Name: m.chain, Table: table}) // none of a chain or a table that does not exist
	return len(rules) > 0, err
}

// services reports bypasses. It runs in the host's namespace.
func (x *examination) services() error {
	found, err := bypasses(x.want)
	for _, b := range found {
		if b.stays {
			x.add("forwarding-off", "the host forwards no %s packets, and the rules of %s lead some to containers of bridge %s", b.family, b.who,
				x.want.Name)
		}
		if !b.around {
			continue
		}
		const text = "the rules of %s do not see %s packets between the containers of bridge %s, so that Services fail there: %s"
		if b.absent {
			x.report("services-bypassed", "load the kernel's module (modprobe br_netfilter), and name it in /etc/modules-load.d", text, b.who,
				b.family, x.want.Name, "this kernel has no br_netfilter")
			continue
		}
		x.add("services-bypassed", text, b.who, b.family, x.want.Name, b.call+" is not 1")
	}
	return err
}

// passBridged has bridged packets pass the rules that rewrite them, and the host forward what they lead to containers.
func (k *Kernel) passBridged(b Bridge) error {
	return rtnl.Within(k.home, func() error {
		found, err := bypasses(b)
		for _, b := range found {
			if b.around && !b.absent {
				err = errors.Join(err, k.settings.Set("1", b.call))
			}
			if b.stays {
				err = errors.Join(err, k.settings.ForwardAll([]netip.Prefix{b.of}))
			}
		}
		return err
	})
}
