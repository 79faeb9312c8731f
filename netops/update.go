package netops

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Update brings a running port from what it was made of to another MTU and other routes, without taking anything away
// that connections rest on before its successor is there. Addresses, MAC and bridge stay. It is idempotent: a route
// that is there already, or gone already, is no error.
func (k *Kernel) Update(to, from Port) error {
	if err := to.validate(); err != nil {
		return fmt.Errorf("netops: update %s: %w", to.Name, err)
	}
	mtu := to.MTU
	err := k.host.with(func(s *socket) error {
		if mtu == 0 {
			bridge, err := linkNamed(s, to.Bridge)
			if err != nil {
				return err
			}
			mtu = bridge.mtu
		}
		host, err := linkNamed(s, to.Name)
		if err != nil {
			return err
		}
		return s.do(changeLink(host.index, "set MTU of "+to.Name, 0, numberAttr(unix.IFLA_MTU, mtu)))
	})
	if err == nil {
		err = within(to.Netns, func() error { return updateInside(&to, &from, mtu) })
	}
	if err != nil {
		return fmt.Errorf("netops: update %s: %w", to.Name, err)
	}
	return nil
}

// updateInside runs in the container's namespace.
func updateInside(to, from *Port, mtu int) error {
	s, err := openSocket()
	if err != nil {
		return err
	}
	defer s.close()
	inside, err := linkNamed(s, to.Interface)
	if err != nil {
		return err
	}
	requests := []request{changeLink(inside.index, "set MTU of "+to.Interface, 0, numberAttr(unix.IFLA_MTU, mtu))}
	wanted := to.routes()
	for _, r := range wanted {
		put := putRoute(inside.index, r.To, r.Via, fmt.Sprintf("put route to %v via %v", r.To, r.Via))
		put.Flags = put.Flags&^unix.NLM_F_EXCL | unix.NLM_F_REPLACE
		requests = append(requests, put)
	}
	if err := s.do(requests...); err != nil {
		return err
	}
	return removeRoutes(s, to, inside.index, wanted, from.routes())
}

// removeRoutes takes away what only the former routes have.
func removeRoutes(s *socket, p *Port, index int, wanted, former []Route) error {
	held, err := routes(s)
	if err != nil {
		return err
	}
	for _, r := range held {
		same := func(x Route) bool { return x.To.Masked() == r.to && x.Via == r.via }
		sameTarget := func(x Route) bool { return x.To.Masked() == r.to }
		if r.index != index || r.table != unix.RT_TABLE_MAIN || !slices.ContainsFunc(former, same) || slices.ContainsFunc(wanted, same) {
			continue
		}
		if slices.ContainsFunc(wanted, sameTarget) && r.family == unix.AF_INET {
			continue // its successor has replaced it
		}
		if err := s.do(dropRoute(r.body, fmt.Sprintf("remove route to %v via %v from %s", r.to, r.via, p.Interface))); err != nil {
			return err
		}
	}
	return nil
}
