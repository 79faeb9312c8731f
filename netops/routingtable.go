package netops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

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
	links    map[int]bool    // that routes lead over, or depend on
	reported bool            // a change since the last comparison was reported
}

// A device is one of a tunnel, and the nodes that it reaches.
type device struct {
	index int
	nodes map[netip.Addr]bool
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

// changed is called by the monitor: a link, or its addresses, are not as they were; index 0: any may have changed. It reports whether
// that concerns routes, and is the first such change since the last comparison.
func (t *routing) changed(index int) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.put) == 0 || index != 0 && !t.links[index] {
		return false
	}
	return t.newsLocked()
}

// gone is called by the monitor: a route has ended. It reports what changed does, where that route was to stay.
func (t *routing) gone(o rtnl.OwnRoute) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, there := t.put[keyOf(o)]
	return there && held.Via == o.Via && t.newsLocked()
}

func (t *routing) newsLocked() bool {
	news := !t.reported
	t.reported = true
	return news
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
		if t.plan.near.known == nil {
			return false // it is the first one that may be tunnelled
		}
		if d, there := t.devices[hop.Via.Is4()]; t.plan.tunnelled(hop) && !(there && d.nodes[hop.Via]) {
			return false
		}
	}
	return true
}

func (t *routing) know(locals []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = locals
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

// routeChanges are what the kernel's routes lack, and what they have too much.
type routeChanges struct {
	puts  []routeChange
	drops []rtnl.OwnRoute
}

// A routeChange is a route that is to be put, in the place of a former one if it replaces any.
type routeChange struct {
	route, former rtnl.OwnRoute
	replaces      bool
}

// change adds what makes the next hop to a prefix the wanted one.
func (t *routing) change(c *routeChanges, to netip.Prefix) {
	now, can := t.route(to)
	was, there := t.hop(to)
	switch {
	case can && !(there && now == was):
		c.puts = append(c.puts, routeChange{route: now, former: was, replaces: there})
	case !can && there:
		c.drops = append(c.drops, was)
	}
}

// takeOver has the wanted routes take the place of others of the same key; the rest of those is dropped.
func (c *routeChanges) takeOver(others []rtnl.OwnRoute) {
	at := make(map[routeKey]int, len(c.puts))
	for i, p := range c.puts {
		at[keyOf(p.route)] = i
	}
	for _, o := range others {
		if i, there := at[keyOf(o)]; there && !c.puts[i].replaces {
			c.puts[i].former, c.puts[i].replaces = o, true
		} else {
			c.drops = append(c.drops, o)
		}
	}
}

// carryOut puts, and then drops. What the kernel refuses of a next hop is kept in refused.
func (t *routing) carryOut(s *rtnl.Socket, todo *routeChanges) (err error) {
	t.known = false // until all outcomes are known
	requests := make([]rtnl.Request, len(todo.puts))
	for i, p := range todo.puts {
		requests[i] = rtnl.PutOwnRoute(p.route, "put a route")
		if p.replaces {
			requests[i].Replacing()
		}
	}
	outcomes, err := s.Each(requests...)
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		p := todo.puts[i]
		delete(t.refused, p.route.To)
		t.note(p.route, outcome == nil)
		switch {
		case outcome == nil:
			continue
		case p.route.Refuses:
			err = errors.Join(err, fmt.Errorf("refuse what nobody has of %v: %w", p.route.To, outcome))
		case p.route.Table != 0:
			err = errors.Join(err, fmt.Errorf("lead to node %v through the tunnel: %w", p.route.To.Addr(), outcome))
		default:
			t.refused[p.route.To] = outcome
		}
		if p.replaces {
			todo.drops = append(todo.drops, p.former)
		}
	}
	return errors.Join(err, t.drop(s, todo.drops))
}

func (t *routing) drop(s *rtnl.Socket, drops []rtnl.OwnRoute) (err error) {
	requests := make([]rtnl.Request, len(drops))
	for i, o := range drops {
		t.dropping(o)
		requests[i] = rtnl.DropOwnRoute(o, "drop a route")
	}
	outcomes, err := s.Each(requests...)
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		if outcome != nil && !errors.Is(outcome, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("drop the route to %v: %w", drops[i].To, outcome))
		}
	}
	t.known = err == nil
	return err
}
