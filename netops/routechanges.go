package netops

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

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
