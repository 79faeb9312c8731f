package netops

import (
	"context"
	"errors"
	"fmt"
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
	known   bool // put is what the kernel has, as far as nobody else changes it
	refused map[netip.Prefix]error

	mu       sync.Mutex
	own      []netip.Addr // this node's addresses, as of the last SetRouting
	put      map[routeKey]rtnl.OwnRoute
	links    map[int]bool // that routes lead over
	reported bool         // a change since the last comparison was reported
}

// A routeKey tells routes of one table apart.
type routeKey struct {
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

func (t *routing) know(locals []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = locals
}

func keyOf(o rtnl.OwnRoute) routeKey { return routeKey{o.To, o.Metric} }

// hop is the next hop that was put to a prefix; invalid: none.
func (t *routing) hop(to netip.Prefix) netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.put[routeKey{to, hopMetric}].Via
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

// all are the routes that are wanted.
func (t *routing) all() map[routeKey]rtnl.OwnRoute {
	want := make(map[routeKey]rtnl.OwnRoute, len(t.want.Hops)+len(t.want.Pools))
	for _, pool := range t.want.Pools {
		o := rtnl.OwnRoute{To: pool.Masked(), Metric: refusalMetric, Refuses: true}
		want[keyOf(o)] = o
	}
	for to, hop := range t.want.Hops {
		o := rtnl.OwnRoute{To: to, Metric: hopMetric, Via: hop.Via}
		want[keyOf(o)] = o
	}
	return want
}

// compare reads the kernel's routes, and changes what is not as wanted.
func (t *routing) compare(s *rtnl.Socket) error {
	t.comparing()
	held, err := rtnl.OwnRoutes(s)
	if err != nil {
		return err
	}
	want, links := t.all(), map[int]bool{}
	put := make(map[routeKey]rtnl.OwnRoute, len(want))
	var others []rtnl.OwnRoute
	for _, o := range held {
		index := o.Index
		o.Index = 0
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
	t.refused = map[netip.Prefix]error{}
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

// hop adds what makes the next hop to a prefix another; an invalid one is none.
func (c *routeChanges) hop(to netip.Prefix, via, former netip.Addr) {
	now, was := rtnl.OwnRoute{To: to, Metric: hopMetric, Via: via}, rtnl.OwnRoute{To: to, Metric: hopMetric, Via: former}
	switch {
	case via == former:
	case via.IsValid():
		c.puts = append(c.puts, routeChange{route: now, former: was, replaces: former.IsValid()})
	default:
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
