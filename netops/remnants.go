package netops

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// A Remnant is something on this host that Berth has put there.
type Remnant struct {
	Kind string // one of RemnantPort, …
	Name string // which one, in words
	// Stays is why it is not to be removed; empty: it is.
	Stays  string
	remove func() error
}

// The kinds of a Remnant.
const (
	RemnantPort    = "port"    // a container's link
	RemnantUplink  = "uplink"  // a NIC in a bridge: its addresses and routes go back to it
	RemnantBridge  = "bridge"  // one that Berth has made
	RemnantAddress = "address" // a gateway
	RemnantRoute   = "route"
	RemnantRule    = "rule"   // of policy routing
	RemnantTunnel  = "tunnel" // a VXLAN device, with what leads through it
	RemnantTable   = "nftables table"
	RemnantSetting = "setting" // one of the kernel's, which gets the value back that it had
)

// Remove takes the remnant away. Absence is success.
func (r *Remnant) Remove() error {
	if r.Stays != "" {
		return nil
	}
	if err := r.remove(); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("netops: remove %s %s: %w", r.Kind, r.Name, err)
	}
	return nil
}

// Remnants lists what Berth has put into the calling thread's network namespace, in the order in which it is to be removed. Memory is the
// file in which an agent has kept which of the host's settings it has changed. A setting that somebody has changed since is none.
func Remnants(memory string) (all []Remnant, err error) {
	s, err := rtnl.OpenSocket()
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	defer s.Close()
	links, err := rtnl.Links(s)
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	lists := [...]func(*rtnl.Socket, []rtnl.Link) ([]Remnant, error){portRemnants, addressRemnants, routeRemnants, ruleRemnants,
		tunnelRemnants, bridgeRemnants}
	for _, list := range lists {
		some, err := list(s, links)
		if err != nil {
			return nil, fmt.Errorf("netops: %w", err)
		}
		all = append(all, some...)
	}
	tables, err := tableRemnants()
	if err != nil {
		return nil, err
	}
	settings, err := settingRemnants(memory)
	return slices.Concat(all, tables, settings), err
}

// settingRemnants are in the order in which they were changed: that of all links comes before those of single ones, which change with it.
func settingRemnants(memory string) (all []Remnant, err error) {
	changed, err := sysctl.Remembered(os.ReadFile(memory))
	if err != nil {
		return nil, fmt.Errorf("netops: %s: %w", memory, err)
	}
	for _, c := range sysctl.Standing(changed) {
		all = append(all, Remnant{Kind: RemnantSetting, Name: fmt.Sprintf("%s from %s back to %s", c.Path, c.Made, c.Before),
			remove: c.PutBack})
	}
	return all, nil
}

// doing makes a removal of requests.
func doing(requests ...rtnl.Request) func() error {
	return func() error {
		s, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		for _, r := range requests {
			if err := s.Ensure(r); err != nil {
				return err
			}
		}
		return nil
	}
}

func portRemnants(_ *rtnl.Socket, links []rtnl.Link) (all []Remnant, err error) {
	for _, l := range links {
		if strings.HasPrefix(l.Name, Prefix) && l.Kind == "veth" {
			all = append(all, Remnant{Kind: RemnantPort, Name: l.Name, remove: doing(rtnl.DeleteLink(0, l.Name))})
		}
	}
	return all, nil
}

func addressRemnants(s *rtnl.Socket, links []rtnl.Link) (all []Remnant, err error) {
	held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, 0)
	for _, l := range links {
		if goesWithLink(&l) {
			continue
		}
		for _, a := range held {
			if a.Index == l.Index && a.Proto == rtnl.OurProto {
				all = append(all, Remnant{Kind: RemnantAddress, Name: fmt.Sprintf("%v on %s", a.Prefix, l.Name),
					remove: doing(rtnl.DropAddress(l.Index, a, "take it off"))})
			}
		}
	}
	return all, err
}

// goesWithLink reports whether what is on a link ends with it: it is a port or a tunnel.
func goesWithLink(l *rtnl.Link) bool {
	return strings.HasPrefix(l.Name, Prefix) || isTunnel(l.Name) && l.Alias == ownTunnel
}

// ruleRemnants are the rules that concern tunnels.
func ruleRemnants(s *rtnl.Socket, _ []rtnl.Link) (all []Remnant, err error) {
	held, err := rtnl.OwnRules(s)
	for _, r := range held {
		all = append(all, Remnant{Kind: RemnantRule, Name: fmt.Sprintf("from %v", r.From), remove: doing(rtnl.DropOwnRule(r))})
	}
	return all, err
}

func tunnelRemnants(_ *rtnl.Socket, links []rtnl.Link) (all []Remnant, err error) {
	for _, l := range links {
		if isTunnel(l.Name) && l.Alias == ownTunnel {
			all = append(all, Remnant{Kind: RemnantTunnel, Name: l.Name, remove: doing(rtnl.DeleteLink(0, l.Name))})
		}
	}
	return all, nil
}

// routeRemnants are the routes that do not end with a port or a tunnel.
func routeRemnants(s *rtnl.Socket, links []rtnl.Link) (all []Remnant, err error) {
	held, err := rtnl.OwnRoutes(s)
	for _, r := range held {
		if slices.ContainsFunc(links, func(l rtnl.Link) bool { return l.Index == r.Index && goesWithLink(&l) }) {
			continue
		}
		all = append(all, Remnant{Kind: RemnantRoute, Name: r.To.String(), remove: doing(rtnl.DropOwnRoute(r, "take it away"))})
	}
	return all, err
}

// bridgeRemnants are the bridges that Berth has made, and before each its uplink. A bridge that has ports of others stays.
func bridgeRemnants(s *rtnl.Socket, links []rtnl.Link) (all []Remnant, err error) {
	for _, bridge := range links {
		if bridge.Kind != "bridge" || bridge.Alias != ownBridge {
			continue
		}
		var others []string
		for _, l := range links {
			switch {
			case l.Master != bridge.Index || strings.HasPrefix(l.Name, Prefix):
			case l.MAC.String() == bridge.MAC.String():
				all = append(all, Remnant{Kind: RemnantUplink, Name: fmt.Sprintf("%s in %s", l.Name, bridge.Name),
					remove: func() error { return release(l.Name, bridge.Name) }})
			default:
				others = append(others, l.Name)
			}
		}
		r := Remnant{Kind: RemnantBridge, Name: bridge.Name, remove: doing(rtnl.DeleteLink(0, bridge.Name))}
		if len(others) > 0 {
			r.Stays = fmt.Sprintf("it has ports that are not Berth's (%s): take them out of it, then do it again", few(others))
		}
		all = append(all, r)
	}
	return all, nil
}

// release takes a NIC out of its bridge, and gives it back what the host has there: first the NIC gets it, then the bridge loses it,
// and last the NIC leaves. So the host is reached by either all the time. After an error all is as it was.
func release(nic, bridge string) error {
	s, err := rtnl.OpenSocket()
	if err != nil {
		return err
	}
	defer s.Close()
	n, err := rtnl.LinkNamed(s, nic)
	if err != nil {
		return err
	}
	b, err := rtnl.LinkNamed(s, bridge)
	if err != nil || n.Master != b.Index {
		return err
	}
	has, err := holdingsOf(s, b)
	if err != nil {
		return err
	}
	there, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, n.Index)
	if err != nil {
		return err
	}
	over, err := rtnl.RoutesOver(s, b.Index)
	if err != nil {
		return err
	}
	move := append(gainSteps(has.addresses, over, b, n, there), loseSteps(has.addresses, over, b)...)
	leave := rtnl.Step{
		Do:   rtnl.ChangeLink(n.Index, "take it out of the bridge", 0, rtnl.WithMaster(0), rtnl.LinkLocalByMAC()),
		Undo: rtnl.ChangeLink(n.Index, "undo", 0, rtnl.WithMaster(b.Index)),
	}
	return rtnl.CarryOut(s, append(move, leave))
}

// tableRemnants are Berth's tables of nftables.
func tableRemnants() (all []Remnant, err error) {
	tables, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		return nil, fmt.Errorf("netops: list the nftables tables: %w", err)
	}
	for _, t := range tables {
		family, ours := fence.Families[t.Family]
		if !ours || t.Name != fence.TableName {
			continue
		}
		all = append(all, Remnant{Kind: RemnantTable, Name: family + " " + t.Name, remove: func() error {
			c := &nftables.Conn{}
			c.DelTable(t)
			return c.Flush()
		}})
	}
	return all, nil
}
