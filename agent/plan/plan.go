// Package plan computes what the kernel is to have for a container: pure functions of its journal entry and its pool's present
// configuration.
package plan

import (
	"net"
	"net/netip"
	"reflect"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/netops"
)

// PortName is the name of the host's end of an attachment: a hash of it, so that it is known without the journal.
func PortName(at allocator.Attachment) string {
	return netops.PortName(at.Network, at.Container, at.Interface)
}

// Bridge is what an entry needs its bridge to be. Without an uplink this node is the network's router, so that the
// bridge has the gateways' addresses. With one the router is elsewhere, and the node reaches its containers by a link route.
func Bridge(w journal.Wiring, pool *allocator.Pool) netops.Bridge {
	b := netops.Bridge{Name: w.Bridge, Uplink: w.Uplink, MTU: pool.MTU}
	if w.Uplink == "" {
		for _, g := range pool.AllGateways() {
			switch {
			case pool.Contains(g):
				b.Addresses = append(b.Addresses, pool.Prefix(g))
				continue
			case g.Is6() && g.IsLinkLocalUnicast():
				b.Addresses = append(b.Addresses, netip.PrefixFrom(g, 64)) // RFC 4291, section 2.5.6
			default:
				b.Addresses = append(b.Addresses, netip.PrefixFrom(g, g.BitLen()))
			}
			b.Subnets = append(b.Subnets, pool.ServedBy(g)...)
		}
	}
	if w.Uplink != "" {
		b.Subnets = pool.CIDRs
	}
	if w.IPMasq {
		b.Masquerade = pool.CIDRs
	}
	return b
}

// Port is what an entry needs its interface to be.
func Port(e *journal.Entry, pool *allocator.Pool) netops.Port {
	mac, _ := net.ParseMAC(e.Wiring.MAC) // written by Berth, or checked in the request
	p := netops.Port{
		Name: e.Wiring.Port, Alias: alias(e), Bridge: e.Wiring.Bridge, Interface: e.Attachment.Interface, MAC: mac, MTU: e.Wiring.MTU,
		Routed: e.Wiring.Routed, OnLink: pool.OnLink || e.Wiring.Routed,
	}
	if e.Wiring.Routed {
		p.Answers = Led(e).Answers
	}
	if p.Addresses = e.Wiring.Prefixes; p.Addresses == nil {
		for _, addr := range e.Addresses {
			p.Addresses = append(p.Addresses, pool.Prefix(addr))
		}
	}
	for _, r := range e.Wiring.Routes {
		p.Routes = append(p.Routes, netops.Route{To: r.To, Via: r.Via})
	}
	return p
}

// Led is what the host needs to know of a routed port to lead to its container. It does not depend on the pool's configuration.
func Led(e *journal.Entry) netops.Port {
	mac, _ := net.ParseMAC(e.Wiring.MAC) // written by Berth, or checked in the request
	p := netops.Port{Name: e.Wiring.Port, Routed: true, MAC: mac}
	for _, addr := range e.Addresses {
		p.Addresses = append(p.Addresses, netip.PrefixFrom(addr, addr.BitLen()))
		if addr.Is6() {
			p.Answers = []netip.Prefix{netip.PrefixFrom(allocator.RoutedGateways[allocator.V6], 64)} // RFC 4291, section 2.5.6
		}
	}
	return p
}

// Prefixes are an entry's addresses with the lengths of the CIDRs that they lie in. One that lies in none stays as it was.
func Prefixes(addresses []netip.Addr, former []netip.Prefix, pool *allocator.Pool) (all []netip.Prefix) {
	for i, a := range addresses {
		p := pool.Prefix(a)
		if !pool.Contains(a) && i < len(former) && former[i].Addr() == a {
			p = former[i]
		}
		all = append(all, p)
	}
	return all
}

// OtherMode reports whether an interface was made for another mode than its pool has: its node was away while the pool had no
// containers, or etcd was restored to before. Nothing of it is to be changed.
func OtherMode(w journal.Wiring, pool *allocator.Pool) bool {
	return w.Port != "" && w.Routed != pool.Layer3()
}

// Member is an entry's port in its class, and what it may send.
func Member(e *journal.Entry) netops.Member {
	mac, _ := net.ParseMAC(e.Wiring.MAC) // written by Berth
	return netops.Member{
		Port: e.Wiring.Port, Class: string(e.Class), Routed: e.Wiring.Routed, MAC: mac, Addresses: e.Addresses, Trusted: e.Wiring.Trusted,
		Isolated: e.Wiring.Apart,
	}
}

// Rewired is an entry's wiring by its pool's present configuration.
func Rewired(e *journal.Entry, pool *allocator.Pool) journal.Wiring {
	w, given := e.Wiring, e.Wiring.Routes
	w.MTU, w.Gateways, w.Routes, w.Trusted = mtuOf(w, pool.MTU), pool.GatewaysOf(e.Addresses), pool.RoutesOf(e.Addresses), !pool.AntiSpoofs()
	w.Apart, w.Prefixes = pool.Isolate, nil
	if !w.Routed {
		w.Prefixes = Prefixes(e.Addresses, e.Wiring.Prefixes, pool)
	}
	if w.Given == nil && !reflect.DeepEqual(given, w.Routes) {
		w.Given = given
	}
	return w
}

// mtuOf is the MTU that a wiring is to get where its pool says one. 0 is not known behind a node: what a container has stays. One that was
// made without an MTU has the usual one there.
func mtuOf(w journal.Wiring, says int) int {
	if w.Routed && (says == 0 || w.MTU == 0 && says == netops.UsualMTU) {
		return w.MTU
	}
	return says
}
