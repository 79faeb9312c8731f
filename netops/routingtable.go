package netops

import (
	"context"
	"maps"
	"net/netip"
	"sync"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// routing remembers which routes of routed pools the kernel has.
type routing struct {
	setting task.Lock // of whoever changes routes, and with it the fields up to mu
	want    Routing
	plan    *tunnelPlan // of the last comparison
	known   bool        // put is what the kernel has, as far as nobody else changes it
	refused map[netip.Prefix]error

	mu       sync.Mutex
	own      []netip.Addr // this node's addresses, as of the last SetRouting
	put      map[routeKey]rtnl.OwnRoute
	devices  map[bool]device // of tunnels, by whether their outer packets are IPv4's
	rules    []rtnl.OwnRule
	nearest  bool         // what way a hop goes depends on the subnets of this host's links
	links    map[int]bool // that routes lead over, or depend on
	reported bool         // a change since the last comparison was reported
}

// A device is one of a tunnel, and the nodes that it reaches.
type device struct {
	index  int
	nodes  map[netip.Addr]bool
	inside map[netip.Addr]bool // the same, by their IPv6 addresses in the tunnel
}

func newDevice(index int, nodes map[netip.Addr]bool) device {
	d := device{index, nodes, make(map[netip.Addr]bool, len(nodes))}
	for a := range nodes {
		d.inside[tunnelLinkLocal(a)] = true
	}
	return d
}

// A routeKey tells routes apart.
type routeKey struct {
	table  int
	to     netip.Prefix
	metric int
}

func newRouting() routing {
	return routing{setting: task.NewLock(), want: Routing{Hops: map[netip.Prefix]Hop{}}}
}

// alone waits until nobody else changes routes, until unlock is called.
func (t *routing) alone() (unlock func()) {
	_ = t.setting.Lock(context.Background()) // it cannot fail: this context does not end
	return t.setting.Unlock
}

// locals are this node's addresses, as of the last SetRouting.
func (t *routing) locals() []netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own
}

// tunnel keeps which devices there are.
func (t *routing) tunnel(devices map[bool]device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.devices = devices
}

func (t *routing) isDevice(index int) bool {
	for _, d := range t.devices {
		if d.index == index {
			return true
		}
	}
	return false
}

// reaches reports whether the tunnels reach all that hops lead to through them.
func (t *routing) reaches(hops map[netip.Prefix]Hop) bool {
	for _, hop := range hops {
		if !hop.IsValid() || hop.Way == Direct {
			continue
		}
		if hop.Way == Nearest && t.plan.near.known == nil {
			return false // it is the first whose way depends on the host's subnets
		}
		if d, there := t.devices[hop.Via.Is4()]; t.plan.tunnelled(hop) && !(there && d.nodes[hop.Via]) {
			return false
		}
	}
	return true
}

// know keeps what the monitor and others ask for of a Routing.
func (t *routing) know(want *Routing) {
	nearest := want.goes(Nearest)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own, t.nearest = want.Locals, nearest
}

func keyOf(o rtnl.OwnRoute) routeKey { return routeKey{o.Table, o.To, o.Metric} }

// hop is the route to what another node's containers have, as it was put.
func (t *routing) hop(to netip.Prefix) (o rtnl.OwnRoute, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, there = t.put[routeKey{to: to, metric: hopMetric}]
	return o, there
}

// note keeps that the kernel has a route, or has it no more.
func (t *routing) note(o rtnl.OwnRoute, there bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if there {
		t.put[keyOf(o)] = o
	} else {
		delete(t.put, keyOf(o))
	}
}

// dropping keeps that a route is about to end, so that its end is no news.
func (t *routing) dropping(o rtnl.OwnRoute) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.put[keyOf(o)] == o {
		delete(t.put, keyOf(o))
	}
}

// all are the routes that are wanted, as far as they can be. What cannot be is refused.
func (t *routing) all() map[routeKey]rtnl.OwnRoute {
	want := make(map[routeKey]rtnl.OwnRoute, len(t.want.Hops)+len(t.want.Pools)+len(t.plan.nodes))
	add := func(o rtnl.OwnRoute) { want[keyOf(o)] = o }
	for _, pool := range t.want.Pools {
		add(rtnl.OwnRoute{To: pool.Masked(), Metric: refusalMetric, Refuses: true})
	}
	for to := range t.want.Hops {
		if o, can := t.route(to); can {
			add(o)
		}
	}
	for _, n := range t.plan.nodes {
		if d, there := t.devices[n.outer.Is4()]; there {
			o := tunnelRoute(netip.PrefixFrom(n.to, n.to.BitLen()), n.outer, d.index)
			o.Table = n.table
			add(o)
		}
	}
	return want
}

// route is the one to what another node's containers have. It can be where that has a next hop, and the tunnel that it takes has a
// device.
func (t *routing) route(to netip.Prefix) (o rtnl.OwnRoute, can bool) {
	hop, wanted := t.want.Hops[to]
	delete(t.refused, to)
	if !wanted || !t.plan.tunnelled(hop) {
		return rtnl.OwnRoute{To: to, Metric: hopMetric, Via: hop.Via}, wanted
	}
	d, there := t.devices[hop.Via.Is4()]
	switch {
	case there:
		return tunnelRoute(to, hop.Via, d.index), true
	case t.plan.ends[hop.Via.Is4()] == nil:
		t.refused[to] = errNoEnd
	}
	return o, false // the device could not be made, which SetRouting has told
}

// compare reads the kernel's routes, and changes what is not as wanted.
func (t *routing) compare(s *rtnl.Socket) error {
	t.comparing()
	held, err := rtnl.OwnRoutes(s)
	if err != nil {
		return err
	}
	t.refused = map[netip.Prefix]error{}
	want, links := t.all(), maps.Clone(t.plan.links)
	put := make(map[routeKey]rtnl.OwnRoute, len(want))
	var others []rtnl.OwnRoute
	for _, o := range held {
		index := o.Index
		if !t.isDevice(index) {
			o.Index = 0
		}
		switch {
		case o.Metric == portMetric, !o.Refuses && !o.Via.IsValid(): // a port's
		case want[keyOf(o)] == o:
			put[keyOf(o)], links[index] = o, true
		default:
			others = append(others, o)
		}
	}
	todo := routeChanges{}
	for key, o := range want {
		if _, there := put[key]; !there {
			todo.puts = append(todo.puts, routeChange{route: o})
		}
	}
	todo.takeOver(others)
	t.mu.Lock()
	t.put, t.links = put, links
	t.mu.Unlock()
	if err := t.carryOut(s, &todo); err != nil || len(todo.puts) == 0 {
		return err
	}
	return t.findLinks(s)
}

func (t *routing) comparing() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reported, t.known = false, false
}

// findLinks reads which links the routes lead over, after some were put.
func (t *routing) findLinks(s *rtnl.Socket) error {
	held, err := rtnl.OwnRoutes(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range held {
		if o.Via.IsValid() {
			t.links[o.Index] = true
		}
	}
	return err
}
