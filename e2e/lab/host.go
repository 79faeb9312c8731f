package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
)

// Host counts what the node's kernel has of links, addresses, routes, rules, neighbours, settings and tables of nftables: all that a
// program may have put there. What the kernel learns by itself is not counted: neighbours that answered.
func (n *Node) Host() (Census, error) {
	var all Census
	err := n.Within(func() (err error) {
		for _, count := range []func() (Census, error){hostLinks, hostRoutes, hostRules, hostNeighbours, hostSettings, hostTables} {
			some, failed := count()
			all, err = append(all, some...), errors.Join(err, failed)
		}
		return err
	})
	slices.Sort(all)
	return all, err
}

func hostLinks() (all Census, err error) {
	links, err := dump.Whole(func() ([]netlink.Link, error) { return netlink.LinkList() })
	for _, l := range links {
		a := l.Attrs()
		all = append(all, fmt.Sprintf("link %s %s mtu %d master %s alias %q %v", a.Name, l.Type(), a.MTU, nameOf(links, a.MasterIndex), a.Alias,
			a.Flags))
		held, failed := dump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		err = errors.Join(err, failed)
		for _, each := range held {
			all = append(all, fmt.Sprintf("address %v of %s, scope %d", each.IPNet, a.Name, each.Scope))
		}
	}
	return all, err
}

func nameOf(links []netlink.Link, index int) string {
	i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == index })
	if i < 0 {
		return fmt.Sprint(index)
	}
	return links[i].Attrs().Name
}

func hostRoutes() (all Census, err error) {
	links, err := dump.Whole(func() ([]netlink.Link, error) { return netlink.LinkList() })
	if err != nil {
		return nil, err
	}
	routes, err := dump.Whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	for _, r := range routes {
		all = append(all, fmt.Sprintf("route %v via %v over %s, table %d, protocol %v, metric %d, type %d, scope %v", r.Dst, r.Gw,
			nameOf(links, r.LinkIndex), r.Table, r.Protocol, r.Priority, r.Type, r.Scope))
	}
	return all, err
}

func hostRules() (all Census, err error) {
	rules, err := dump.Whole(func() ([]netlink.Rule, error) { return netlink.RuleList(netlink.FAMILY_ALL) })
	for _, r := range rules {
		all = append(all, fmt.Sprintf("rule family %d: %v", r.Family, r))
	}
	return all, err
}

// hostNeighbours are those that a program has put there.
func hostNeighbours() (all Census, err error) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
		for _, flags := range []int{0, netlink.NTF_PROXY} {
			list, failed := dump.Whole(func() ([]netlink.Neigh, error) {
				return netlink.NeighListExecute(netlink.Ndmsg{Family: uint8(family), Flags: uint8(flags)})
			})
			err = errors.Join(err, failed)
			for _, e := range list {
				if e.State&netlink.NUD_PERMANENT != 0 || flags == netlink.NTF_PROXY {
					all = append(all, fmt.Sprintf("neighbour %v %v, family %d, flags %d", e.IP, e.HardwareAddr, family, e.Flags))
				}
			}
		}
	}
	return all, err
}

// settings are the directories of what each network namespace has of its own.
var settings = []string{"/proc/sys/net/ipv4", "/proc/sys/net/ipv6", "/proc/sys/net/bridge"}

func hostSettings() (all Census, err error) {
	for _, dir := range settings {
		err = errors.Join(err, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a link that has ended, or a kernel without IPv6
			}
			if err != nil || entry.IsDir() {
				return err
			}
			value, err := os.ReadFile(path)
			if err == nil { // else it cannot be read, as what only flushes
				all = append(all, fmt.Sprintf("setting %s is %s", path, strings.TrimSpace(string(value))))
			}
			return nil
		}))
	}
	return all, err
}

func hostTables() (all Census, err error) {
	c := &nftables.Conn{}
	tables, err := c.ListTables()
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		all = append(all, fmt.Sprintf("table %d %s", t.Family, t.Name))
	}
	chains, err := c.ListChains()
	for _, chain := range chains {
		rules, failed := c.GetRules(chain.Table, chain)
		err = errors.Join(err, failed)
		all = append(all, fmt.Sprintf("chain %d %s %s of %d rules", chain.Table.Family, chain.Table.Name, chain.Name, len(rules)))
	}
	for _, t := range tables {
		sets, failed := c.GetSets(t)
		err = errors.Join(err, failed)
		for _, set := range sets {
			all = append(all, fmt.Sprintf("set %d %s %s", t.Family, t.Name, set.Name))
		}
	}
	return all, err
}
