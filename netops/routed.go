package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A routed port is on no bridge. Its container reaches all others by a gateway with a link-local address, for which the host
// answers: IPv4's is an address of the host's loopback (see SetRouting), IPv6's one of the port's own end, since such an address
// belongs to one link (RFC 4291, section 2.5.6). The host has a route to each address of the container: without it nothing
// arrives there, and the host refuses what the container sends to itself.

// answering asks for the addresses of a routed port's end on the host.
func answering(p *Port, index int) (requests []rtnl.Request) {
	for _, a := range p.Answers {
		given := rtnl.PlainAddress(a)
		given.Proto = rtnl.OurProto
		put := rtnl.PutAddress(index, given, fmt.Sprintf("add the gateway %v", a))
		put.Lenient = true
		requests = append(requests, put)
	}
	return requests
}

// expecting tells the host the MAC of its neighbours, the container's IPv6 addresses. A new IPv6 address does not answer until its link
// has joined the group that solicitations are sent to, which the kernel does some time later (RFC 4861, section 7.2.1): a first
// solicitation that comes before is lost, and the next is a second away.
func expecting(p *Port, index int) (requests []rtnl.Request) {
	for _, a := range p.Addresses {
		if a.Addr().Is6() {
			requests = append(requests, rtnl.ExpectNeighbour(index, a.Addr(), p.mac()))
		}
	}
	return requests
}

// Lead has the host route to the addresses of a routed port's container, over that port, and brings the port up. It is idempotent.
// Leave ends it.
func (k *Kernel) Lead(p Port) error {
	err := k.host.With(func(s *rtnl.Socket) error {
		l, err := rtnl.LinkNamed(s, p.Name)
		if err != nil {
			return err
		}
		if l.Master != 0 {
			return errors.New("the port is on a bridge: delete its container, and make it anew")
		}
		var requests []rtnl.Request
		if !l.Up() {
			requests = append(requests, rtnl.ChangeLink(l.Index, "bring it up", unix.IFF_UP))
		}
		requests = append(requests, answering(&p, l.Index)...)
		for _, a := range p.Addresses {
			put := rtnl.PutOwnRoute(portRoute(l.Index, a), fmt.Sprintf("lead to %v", a))
			put.Replacing()
			requests = append(requests, put)
		}
		requests = append(requests, expecting(&p, l.Index)...)
		return s.Do(requests...)
	})
	if err != nil {
		return fmt.Errorf("netops: route to port %s: %w", p.Name, err)
	}
	k.monitor.knowRouted(p.Name)
	return nil
}

// portRoute leads to an address of a container over its port.
func portRoute(index int, to netip.Prefix) rtnl.OwnRoute {
	return rtnl.OwnRoute{To: netip.PrefixFrom(to.Addr(), to.Addr().BitLen()), Metric: portMetric, Index: index}
}

// unlead takes away the host's routes over a port that is on no bridge. Absence is success.
func (k *Kernel) unlead(port string) error {
	err := k.host.With(func(s *rtnl.Socket) error {
		l, err := rtnl.LinkNamed(s, port)
		if err != nil || l.Master != 0 {
			return err
		}
		held, err := rtnl.OwnRoutes(s)
		if err != nil {
			return err
		}
		for _, r := range held {
			if r.Index != l.Index {
				continue
			}
			if err := s.Ensure(rtnl.DropOwnRoute(r, fmt.Sprintf("lead to %v no more", r.To))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("netops: route to port %s no more: %w", port, err)
	}
	return nil
}

// RoutedFaults compares the host with routed ports whose traffic passes. A port that does not exist is no fault of the host. Lead
// repairs what it names.
func (k *Kernel) RoutedFaults(ports []Port) (found []HostFault, err error) {
	err = k.host.With(func(s *rtnl.Socket) error {
		all, err := rtnl.Links(s)
		if err != nil {
			return err
		}
		held, err := rtnl.OwnRoutes(s)
		if err == nil {
			found = routedFaults(ports, all, held)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netops: look at the ports that this host routes to: %w", err)
	}
	return found, nil
}

func routedFaults(ports []Port, all []rtnl.Link, held []rtnl.OwnRoute) (found []HostFault) {
	byName := map[string]rtnl.Link{}
	for _, l := range all {
		byName[l.Name] = l
	}
	routes := map[int][]netip.Addr{}
	for _, r := range held {
		if r.To.IsSingleIP() {
			routes[r.Index] = append(routes[r.Index], r.To.Addr())
		}
	}
	var down, unled []string
	for _, p := range ports {
		l, there := byName[p.Name]
		switch {
		case !there:
		case !l.Up():
			down = append(down, p.Name)
		case slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return !slices.Contains(routes[l.Index], a.Addr()) }):
			unled = append(unled, p.Name)
		}
	}
	if len(down) > 0 {
		found = append(found, HostFault{Kind: "port-down", Text: fmt.Sprintf("%s down: %s", counted(down), few(down))})
	}
	if len(unled) > 0 {
		found = append(found, HostFault{Kind: "port-unrouted",
			Text: fmt.Sprintf("%s without a route of the host to its address: %s", counted(unled), few(unled))})
	}
	return found
}
