package netops

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// Containers reach the other nodes themselves by the way on which their packets come back: a node's packets to containers go through
// the tunnel, and the network between the nodes knows no container. So each way has a table that has a route through the tunnel to
// each node that it concerns, and rules that ask it where packets of its pools' containers go.
var nodeTables = map[Way]int{Tunnel: rtnl.OwnTables[0], Nearest: rtnl.OwnTables[1]}

// A tunnelPlan is what a Routing asks of this host's tunnels.
type tunnelPlan struct {
	ends  map[bool]*plannedEnd // by whether the outer family is IPv4
	nodes []nodeRoute
	rules []rtnl.OwnRule
	near  nearness
	links map[int]bool // whose changes concern the plan
	mtus  map[netip.Addr]int
}

// A plannedEnd are the nodes that are reached by one device.
type plannedEnd struct{ nodes map[netip.Addr]bool }

// A nodeRoute leads to an address of a node, through the tunnel to one that may be another of its addresses.
type nodeRoute struct {
	table     int
	to, outer netip.Addr
}

var errNoEnd = errors.New("this node has said no address of that family, from which a tunnel could begin: give it one, or its berthd " +
	"--node-address")

// planTunnels reads what of the host it depends on.
func planTunnels(s *rtnl.Socket, want *Routing) (p *tunnelPlan, err error) {
	p = &tunnelPlan{ends: map[bool]*plannedEnd{}, links: map[int]bool{}, mtus: map[netip.Addr]int{}}
	if len(want.Locals) > 0 || want.goes(Tunnel, Nearest) {
		if err := p.look(s, want); err != nil {
			return nil, err
		}
	}
	for _, hop := range want.Hops {
		if p.tunnelled(hop) {
			p.through(want, hop.Via)
		}
	}
	for _, way := range [...]Way{Tunnel, Nearest} {
		p.nodesOf(want, way)
	}
	return p, nil
}

// goes reports whether anything goes by one of some ways.
func (r *Routing) goes(by ...Way) bool {
	for _, hop := range r.Hops {
		if slices.Contains(by, hop.Way) {
			return true
		}
	}
	for _, way := range r.Ways {
		if slices.Contains(by, way) {
			return true
		}
	}
	return false
}

func (p *tunnelPlan) look(s *rtnl.Socket, want *Routing) error {
	links, err := rtnl.Links(s)
	if err != nil {
		return err
	}
	held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, 0)
	if err != nil {
		return err
	}
	byIndex, nearest := map[int]rtnl.Link{}, want.goes(Nearest)
	for _, l := range links {
		if !isTunnel(l.Name) {
			byIndex[l.Index] = l
		}
	}
	for _, a := range held {
		l, there := byIndex[a.Index]
		if there && slices.Contains(want.Locals, a.Prefix.Addr()) {
			p.mtus[a.Prefix.Addr()], p.links[l.Index] = l.MTU, true
		}
		if nearest && there && !strings.HasPrefix(l.Name, Prefix) && !a.Prefix.IsSingleIP() && a.Scope == unix.RT_SCOPE_UNIVERSE {
			p.links[l.Index] = true
			if l.Up() {
				p.near.subnets = append(p.near.subnets, a.Prefix.Masked())
			}
		}
	}
	if nearest {
		p.near.known = map[netip.Addr]bool{}
	}
	return nil
}

// nearness tells which addresses are in a subnet of a link.
type nearness struct {
	subnets []netip.Prefix
	known   map[netip.Addr]bool
}

func (n nearness) has(a netip.Addr) bool {
	is, known := n.known[a]
	if !known {
		is = slices.ContainsFunc(n.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
		n.known[a] = is
	}
	return is
}

// tunnelled reports whether a hop leads through a tunnel.
func (p *tunnelPlan) tunnelled(hop Hop) bool {
	return hop.Way == Tunnel || hop.Way == Nearest && !p.near.has(hop.Via)
}

// through has a node reached by a tunnel, if this node has an end for it.
func (p *tunnelPlan) through(want *Routing, node netip.Addr) {
	if !ofFamily(node.Is4(), want.Locals).IsValid() {
		return
	}
	end := p.ends[node.Is4()]
	if end == nil {
		end = &plannedEnd{nodes: map[netip.Addr]bool{}}
		p.ends[node.Is4()] = end
	}
	end.nodes[node] = true
}

// nodesOf plans how the containers of the pools of one way reach the other nodes.
func (p *tunnelPlan) nodesOf(want *Routing, way Way) {
	families := map[bool]bool{}
	for _, pool := range want.Pools {
		if want.Ways[pool.Masked()] == way {
			families[pool.Addr().Is4()] = true
			if slices.ContainsFunc(want.Locals, pool.Contains) {
				continue // see contained
			}
			p.rules = append(p.rules, rtnl.OwnRule{From: pool.Masked(), Table: nodeTables[way]})
		}
	}
	for _, node := range want.Nodes {
		for is4 := range families {
			outer := Towards(is4, node, want.Locals)
			if !outer.IsValid() || !p.tunnelled(Hop{Via: outer, Way: way}) {
				continue
			}
			p.through(want, outer)
			if to := ofFamily(is4, node); to.IsValid() {
				p.nodes = append(p.nodes, nodeRoute{nodeTables[way], to, outer})
			}
		}
	}
}

// contained says which pool has this node's own address: what the tunnel itself sends would go through the tunnel.
func contained(want *Routing) error {
	for _, pool := range want.Pools {
		for _, a := range want.Locals {
			if want.Ways[pool.Masked()] != Direct && pool.Contains(a) {
				return fmt.Errorf("pool CIDR %v contains %v, this node's own address, so that no tunnel can serve it: "+
					"want a pool apart from the nodes' network", pool, a)
			}
		}
	}
	return nil
}

// setTunnels makes devices, neighbours and rules those that are planned, before routes lead there. It answers with an error for what
// the kernel refuses; the rest is done.
func (k *Kernel) setTunnels(s *rtnl.Socket, p *tunnelPlan) error {
	want := &k.routing.want
	devices := map[bool]device{}
	var all error
	for is4, end := range p.ends {
		local := ofFamily(is4, want.Locals)
		mtu := p.mtus[local]
		if mtu != 0 {
			mtu -= overhead(is4)
		}
		l, err := k.ensureTunnel(s, tunnelEnd{
			name: tunnels[is4], device: rtnl.Vxlan{ID: want.Tunnel.ID, Port: want.Tunnel.Port, Local: local}, mtu: mtu,
			locals: want.Locals, v6: k.speaksV6,
		})
		if err == nil {
			err = setNeighbours(s, l.Index, end.nodes, k.speaksV6, false)
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("tunnel %s: %w", tunnels[is4], err))
			continue
		}
		devices[is4] = newDevice(l.Index, end.nodes)
		p.links[l.Index] = true
	}
	k.routing.tunnel(devices)
	return all
}

// endTunnels takes away what no route needs any more, after the routes.
func (k *Kernel) endTunnels(s *rtnl.Socket, p *tunnelPlan) (err error) {
	for is4, name := range tunnels {
		if d, there := k.routing.devices[is4]; there {
			err = errors.Join(err, setNeighbours(s, d.index, d.nodes, k.speaksV6, true))
			continue
		}
		if p.ends[is4] != nil {
			continue // it could not be made, and stays as it is
		}
		l, lookErr := rtnl.LinkNamed(s, name)
		switch {
		case errors.Is(lookErr, unix.ENODEV) || lookErr == nil && l.Alias != ownTunnel:
		case lookErr != nil:
			err = errors.Join(err, lookErr)
		default:
			err = errors.Join(err, s.Ensure(rtnl.DeleteLink(l.Index, l.Name)))
		}
	}
	return err
}

// guardTunnels has the table guard the tunnels that are planned.
func (k *Kernel) guardTunnels(p *tunnelPlan) error {
	want := &k.routing.want
	if len(p.ends) == 0 {
		return k.GuardTunnel(fence.Tunnel{})
	}
	g := fence.Tunnel{ID: want.Tunnel.ID, Port: want.Tunnel.Port, Locals: want.Locals, Pools: want.Pools, Nodes: slices.Concat(want.Nodes...)}
	for is4, end := range p.ends {
		g.Devices = append(g.Devices, tunnels[is4])
		g.Nodes = slices.AppendSeq(g.Nodes, maps.Keys(end.nodes))
	}
	slices.Sort(g.Devices)
	slices.SortFunc(g.Nodes, netip.Addr.Compare)
	g.Nodes = slices.Compact(g.Nodes)
	return k.GuardTunnel(g)
}

// setRules makes the host's rules those that are planned.
func (t *routing) setRules(s *rtnl.Socket, want []rtnl.OwnRule) error {
	t.mu.Lock()
	t.rules = want
	t.mu.Unlock()
	held, err := rtnl.OwnRules(s)
	if err != nil {
		return err
	}
	for _, r := range want {
		if !slices.Contains(held, r) {
			err = errors.Join(err, s.Ensure(rtnl.PutOwnRule(r)))
		}
	}
	for _, r := range held {
		if !slices.Contains(want, r) {
			err = errors.Join(err, s.Ensure(rtnl.DropOwnRule(r)))
		}
	}
	return err
}
