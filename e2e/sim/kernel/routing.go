package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
)

// SetRouting makes the host's routes between nodes those of r.
func (k *Kernel) SetRouting(r netops.Routing) (refused []netops.RefusedHop, err error) {
	err = k.do("SetRouting", func() error {
		k.routing = netops.Routing{Pools: slices.Clone(r.Pools), Locals: slices.Clone(r.Locals), Hops: map[netip.Prefix]netops.Hop{}}
		maps.Copy(k.routing.Hops, r.Hops)
		for _, p := range r.Pools {
			if f := familyOf(p.Addr()); !k.host.forwards[f] {
				k.host.setForwarding(f, true)
			}
		}
		for _, p := range r.Masquerade {
			k.host.masquerade[p.Masked()] = true
		}
		refused = k.route()
		return nil
	})
	return refused, err
}

// ChangeHops changes some of the next hops of the last SetRouting.
func (k *Kernel) ChangeHops(changed map[netip.Prefix]netops.Hop) (refused []netops.RefusedHop, err error) {
	err = k.do("ChangeHops", func() error {
		if k.routing.Hops == nil {
			k.routing.Hops = map[netip.Prefix]netops.Hop{}
		}
		for to, hop := range changed {
			if k.routing.Hops[to] = hop; !hop.IsValid() {
				delete(k.routing.Hops, to)
			}
		}
		refused = k.route()
		return nil
	})
	return refused, err
}

// route puts what is wanted, but for what leads to nowhere.
func (k *Kernel) route() (refused []netops.RefusedHop) {
	h := k.host
	h.routes = netops.Routing{Pools: k.routing.Pools, Hops: map[netip.Prefix]netops.Hop{}}
	byHop := map[netip.Addr][]netip.Prefix{}
	for to, hop := range k.routing.Hops {
		if h.onLink(hop.Via) || hop.Way != netops.Direct && k.tunnels(hop.Via) {
			h.routes.Hops[to] = hop
		} else {
			byHop[hop.Via] = append(byHop[hop.Via], to)
		}
	}
	for _, via := range slices.SortedFunc(maps.Keys(byHop), netip.Addr.Compare) {
		first := slices.MinFunc(byHop[via], netip.Prefix.Compare)
		r := netops.RefusedHop{Hop: via, Routes: len(byHop[via]), To: first, OffLink: true,
			Err: fmt.Errorf("%w (Nexthop has invalid gateway)", unix.ENETUNREACH)}
		if k.routing.Hops[first].Way != netops.Direct {
			r.OffLink, r.Err = false, errors.New("this node has said no address of that family, from which a tunnel could begin")
		}
		refused = append(refused, r)
	}
	return refused
}

// tunnels reports whether the node has said an address from which a tunnel to another node's can begin.
func (k *Kernel) tunnels(to netip.Addr) bool {
	return slices.ContainsFunc(k.routing.Locals, func(a netip.Addr) bool { return a.Is4() == to.Is4() })
}

// PathMTU is the greatest packet that fits between nodes: what their NICs eth0 let pass, less VXLAN's headers over IPv4, or IPv6.
func (k *Kernel) PathMTU(tunnelled bool) (mtu int, err error) {
	err = k.do("PathMTU", func() error {
		nic := k.host.links["eth0"]
		if nic == nil {
			return unix.ENODEV
		}
		mtu = nic.mtu
		if is4 := func(a netip.Addr) bool { return a.Is4() }; tunnelled {
			mtu -= 50
			if len(k.routing.Locals) > 0 && !slices.ContainsFunc(k.routing.Locals, is4) {
				mtu -= 20
			}
		}
		return nil
	})
	return mtu, err
}

// onLink reports whether another host's address lies in a subnet of a link that is up.
func (h *Host) onLink(via netip.Addr) bool {
	on := false
	for _, l := range h.links {
		for _, a := range l.addresses {
			if a.Addr() == via {
				return false
			}
			on = on || l.up && a.Masked().Contains(via)
		}
	}
	return on
}

// NodeAddresses finds the addresses by which other machines know this host: of each family the first that its configuration gives its
// NIC eth0, where its default route leads.
func (k *Kernel) NodeAddresses() (found []netip.Addr, err error) {
	err = k.do("NodeAddresses", func() error {
		for f := range families {
			for _, p := range k.host.own["eth0"] {
				if familyOf(p.Addr()) == f && p.Addr().IsGlobalUnicast() {
					found = append(found, p.Addr())
					break
				}
			}
		}
		return nil
	})
	return found, err
}

// Routes are the host's routes between nodes.
func (h *Host) Routes() netops.Routing {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	return netops.Routing{Pools: slices.Clone(h.routes.Pools), Hops: maps.Clone(h.routes.Hops)}
}

// FlushRoutes takes the routes between nodes away, as another program would.
func (h *Host) FlushRoutes() {
	h.lan.change(func() {
		h.routes = netops.Routing{}
		h.tell(netops.Event{Kind: netops.HostChanged}, nil)
	})
}
