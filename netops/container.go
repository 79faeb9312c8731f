package netops

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// loopback's index is the same in every namespace.
const loopback = 1

// configure brings a port's end up and gives it its addresses and routes. It runs in the container's namespace. host is the other end.
func configure(p *Port, host rtnl.Link) error {
	index := host.Peer
	if err := sysctl.RefuseAdvertisements(p.Interface); err != nil {
		return err
	}
	if p.hasV6() {
		if err := sysctl.AllowV6(p.Interface); err != nil {
			return err
		}
	}
	s, err := rtnl.OpenSocket()
	if err != nil {
		return err
	}
	defer s.Close()
	requests := []rtnl.Request{
		rtnl.ChangeLink(loopback, "bring lo up", unix.IFF_UP),
		rtnl.ChangeLink(index, "bring "+p.Interface+" up", unix.IFF_UP),
	}
	for _, a := range p.Addresses {
		requests = append(requests, rtnl.PutAddress(index, rtnl.PlainAddress(a), fmt.Sprintf("add address %v to %s", a, p.Interface)))
	}
	held, err := rtnl.Routes(s)
	if err != nil {
		return err
	}
	for _, r := range p.routes() {
		if standingOf(r, index, held) != absent {
			continue // another interface of the container leads there already: the first one's route stays
		}
		put := putWay(p, index, r, fmt.Sprintf("add route to %v via %v", r.To, r.Via))
		put.Lenient = true // a route to the link's own subnet came with its address
		requests = append(requests, put)
	}
	if p.Routed && p.hasV4() {
		// A host that answers only for addresses of the link that asks (arp_ignore) does not answer for the gateway.
		requests = append(requests, rtnl.PutNeighbour(index, RoutedGateway, host.MAC))
	}
	for _, a := range p.Answers {
		requests = append(requests, rtnl.ExpectNeighbour(index, a.Addr(), host.MAC)) // see expecting
	}
	return s.Do(requests...)
}

// putWay asks for a route of a port. A neighbour that no subnet of the port contains is reached over the link where the port
// says so.
func putWay(p *Port, index int, r Route, what string) rtnl.Request {
	put := rtnl.PutRoute(index, r.To, r.Via, what)
	linkLocal := r.Via.Is6() && r.Via.IsLinkLocalUnicast() // is on the link in any case
	if p.OnLink && r.Via.IsValid() && !linkLocal && !p.reaches(r.Via) {
		put.OnLink()
	}
	return put
}
