package netops

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A Routing is what the host needs, besides the routes to its own containers, for the containers of routed pools to reach all others.
type Routing struct {
	Pools      []netip.Prefix       // CIDRs of routed pools: what nobody has of them is refused at once
	Masquerade []netip.Prefix       // those of them whose containers take the host's address towards what is not of the cluster
	Cluster    []netip.Prefix       // where they keep their own, besides those pools: other pools, and the nodes
	Hops       map[netip.Prefix]Hop // the way to what other nodes' containers have

	// What follows is about pools whose containers do not reach all nodes directly.

	Ways   map[netip.Prefix]Way // of Pools: the way of their containers to the other nodes themselves. One that is missing is Direct
	Nodes  [][]netip.Addr       // the other nodes, all of them: the addresses that each has said, at most one a family
	Locals []netip.Addr         // this node's own
	Tunnel TunnelSpec           // zero: DefaultTunnel
}

// The metrics of the routes of routed pools. The routes to the host's own containers come first, with portMetric; they belong to the
// ports. A packet for what nobody has is refused instead of leaving by the default route and coming back.
const (
	portMetric    = 64
	hopMetric     = 128
	refusalMetric = 4096
)

// A RefusedHop is a next hop that the kernel has refused, so that none of its routes is there.
type RefusedHop struct {
	Hop     netip.Addr
	Routes  int          // how many routes lead via it
	To      netip.Prefix // the first of them
	Err     error        // the kernel's
	OffLink bool         // no link of this host reaches it
}

// SetRouting makes the routes of protocol rtnl.RouteProto in the host's main table those of r, after it has read them, and has the host
// forward, masquerade, and answer for the IPv4 gateway of routed pools. Routes over ports and those of other protocols stay as they
// are. A next hop changes without a gap. One that the kernel refuses costs only its own routes, which are tried again the next time.
func (k *Kernel) SetRouting(r Routing) ([]RefusedHop, error) {
	defer k.routing.alone()()
	k.routing.want = r.clone()
	return k.setRouting()
}

// ChangeHops changes some of the next hops of the last SetRouting; one that is invalid takes its route away. It does not read the
// kernel's routes: what others have changed since, SetRouting puts back. A node that no hop has led to yet through a tunnel takes a
// whole SetRouting. It answers with all hops that stand refused.
func (k *Kernel) ChangeHops(changed map[netip.Prefix]Hop) ([]RefusedHop, error) {
	defer k.routing.alone()()
	want := &k.routing.want
	for to, hop := range changed {
		if to = to.Masked(); hop.IsValid() {
			want.Hops[to] = hop
		} else {
			delete(want.Hops, to)
			delete(k.routing.refused, to)
		}
	}
	if !k.routing.known || !k.routing.reaches(changed) {
		return k.setRouting()
	}
	var todo routeChanges
	for to := range changed {
		k.routing.change(&todo, to.Masked())
	}
	err := k.host.With(func(s *rtnl.Socket) error { return k.routing.carryOut(s, &todo) })
	if err != nil {
		err = fmt.Errorf("netops: routes: %w", err)
	}
	return k.routing.refusals(), err
}

// setRouting puts all of k.routing.want. k.routing.setting is held.
func (k *Kernel) setRouting() ([]RefusedHop, error) {
	want := &k.routing.want
	k.routing.know(want)
	err := rtnl.Within(k.home, func() error { return k.settings.ForwardAll(want.Pools) })
	err = errors.Join(err, k.host.With(k.giveRoutedGateway))
	if len(want.Masquerade) > 0 {
		err = errors.Join(err, k.Masquerade(want.Masquerade, want.Cluster))
	}
	err = errors.Join(err, k.host.With(k.setWays))
	if err != nil {
		err = fmt.Errorf("netops: routes: %w", err)
	}
	return k.routing.refusals(), err
}

// setWays puts routes, and before them the tunnels that they lead through; what no route needs any more goes last.
func (k *Kernel) setWays(s *rtnl.Socket) error {
	t := &k.routing
	plan, err := planTunnels(s, &t.want)
	if err != nil {
		return err
	}
	t.plan = plan
	err = contained(&t.want)
	if len(plan.ends) > 0 {
		err = errors.Join(err, k.guardTunnels(plan))
	}
	err = errors.Join(err, k.setTunnels(s, plan), t.compare(s), t.setRules(s, plan.rules), k.endTunnels(s, plan))
	if len(plan.ends) == 0 {
		err = errors.Join(err, k.guardTunnels(plan))
	}
	t.known = t.known && err == nil
	return err
}

// RoutedGateway is the address of the containers' IPv4 gateway in routed pools. The host has it with the scope of itself: so it answers
// ARP requests for it on each port, and never takes it for a source.
var RoutedGateway = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// giveRoutedGateway gives the host the gateway's address while there is a routed IPv4 pool, and takes it off when there is none.
func (k *Kernel) giveRoutedGateway(s *rtnl.Socket) error {
	lo, err := rtnl.LinkNamed(s, "lo")
	if err != nil {
		return err
	}
	held, err := rtnl.AddressesOf(s, unix.AF_INET, lo.Index)
	if err != nil {
		return err
	}
	given := rtnl.Address{Prefix: netip.PrefixFrom(RoutedGateway, 32), Scope: unix.RT_SCOPE_HOST, Proto: rtnl.OurProto}
	at := slices.IndexFunc(held, func(a rtnl.Address) bool { return a.Prefix == given.Prefix })
	wanted := slices.ContainsFunc(k.routing.want.Pools, func(p netip.Prefix) bool { return p.Addr().Is4() })
	switch {
	case wanted && at < 0:
		return s.Ensure(rtnl.PutAddress(lo.Index, given, fmt.Sprintf("add address %v to lo", RoutedGateway)))
	case !wanted && at >= 0 && (held[at].Proto == rtnl.OurProto || forgetsOrigins(held) && held[at].Scope == unix.RT_SCOPE_HOST):
		return s.Ensure(rtnl.DropAddress(lo.Index, held[at], fmt.Sprintf("take address %v off lo", RoutedGateway)))
	}
	return nil
}

// forgetsOrigins reports whether the kernel does not remember who gave an address (before Linux 5.18), by the addresses of lo: it has
// given that link one itself.
func forgetsOrigins(lo []rtnl.Address) bool {
	return !slices.ContainsFunc(lo, func(a rtnl.Address) bool { return a.Proto != 0 })
}

func (r *Routing) clone() Routing {
	c := *r
	c.Pools, c.Masquerade, c.Cluster = slices.Clone(r.Pools), slices.Clone(r.Masquerade), slices.Clone(r.Cluster)
	c.Hops = make(map[netip.Prefix]Hop, len(r.Hops))
	for to, hop := range r.Hops {
		c.Hops[to.Masked()] = hop
	}
	c.Ways = make(map[netip.Prefix]Way, len(r.Ways))
	for pool, way := range r.Ways {
		c.Ways[pool.Masked()] = way
	}
	c.Nodes, c.Locals = slices.Clone(r.Nodes), slices.Clone(r.Locals)
	c.Tunnel = cmp.Or(r.Tunnel, DefaultTunnel)
	return c
}

// refusals are the refused hops, by their addresses.
func (t *routing) refusals() []RefusedHop {
	byHop := map[netip.Addr]*RefusedHop{}
	for to, err := range t.refused {
		via := t.want.Hops[to].Via
		r := byHop[via]
		if r == nil {
			r = &RefusedHop{Hop: via, To: to, Err: err}
			byHop[via] = r
		}
		if r.Routes++; to.Compare(r.To) < 0 {
			r.To, r.Err = to, err
		}
		r.OffLink = r.OffLink || offLink(err)
	}
	all := make([]RefusedHop, 0, len(byHop))
	for _, r := range byHop {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b RefusedHop) int { return a.Hop.Compare(b.Hop) })
	return all
}

// offLink reports whether the kernel has refused a next hop since no subnet of a link that is up has it.
func offLink(err error) bool {
	for _, no := range [...]unix.Errno{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EINVAL} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
