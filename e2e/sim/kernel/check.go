package kernel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-ipam/berth/netops"
)

// Check reports everything that is missing from a port or differs from what Attach made.
func (k *Kernel) Check(p netops.Port) error {
	err := k.do("Check", func() error {
		n, err := k.own(&p)
		if err != nil {
			return err
		}
		if _, faults := k.inspect(n, &p); len(faults) > 0 {
			return errors.New(strings.Join(faults, "; "))
		}
		return nil
	})
	return err
}

// inspect compares a port's both ends with p, and answers as Attach does.
func (k *Kernel) inspect(n *Namespace, p *netops.Port) (made netops.Attached, faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	on, host, in := k.host.links[p.Bridge], k.host.links[p.Name], n.links[p.Interface]
	if host != nil && host.peer == nil {
		host = nil // it is no veth
	}
	checkHost(add, p, host, on)
	if in == nil {
		add("interface %s does not exist in the container", p.Interface)
		return made, faults
	}
	checkInside(add, n, p, in, host)
	if host != nil && host.peer == in {
		made = attached(host)
	}
	return made, faults
}

func checkHost(add func(string, ...any), p *netops.Port, host, on *link) {
	if on == nil {
		add("bridge %s does not exist", p.Bridge)
	}
	if host == nil {
		add("port %s does not exist on the host", p.Name)
		return
	}
	if on != nil && host.master != on {
		add("port %s is not on bridge %s", p.Name, p.Bridge)
	}
	if !host.up {
		add("port %s is down", p.Name)
	}
	switch {
	case p.MTU != 0 && host.mtu != p.MTU:
		add("port %s has MTU %d: want %d", p.Name, host.mtu, p.MTU)
	case on != nil && host.mtu > on.mtu && on.alias != ownBridge:
		add("port %s has MTU %d: want at most the bridge's, %d", p.Name, host.mtu, on.mtu)
	}
}

func checkInside(add func(string, ...any), n *Namespace, p *netops.Port, in, host *link) {
	switch {
	case host == nil || host.peer == in:
	case host.peer.ns != n:
		add("interface %s is not the other end of port %s", p.Interface, p.Name)
	default:
		add("interface %s is not the other end of port %s, which is called %s now", p.Interface, p.Name, host.peer.name)
	}
	if !in.up {
		add("interface %s is down", p.Interface)
	}
	if host != nil && in.mtu > max(host.mtu, p.ChainMTU) {
		add("interface %s has MTU %d: want at most %d", p.Interface, in.mtu, max(host.mtu, p.ChainMTU))
	}
	if mac := macFor(p); in.mac.String() != mac.String() {
		add("interface %s has MAC %v: want %v", p.Interface, in.mac, mac)
	}
	for _, want := range p.Addresses {
		if !in.has(want) {
			add("interface %s lacks address %v", p.Interface, want)
		}
	}
	for _, want := range routesOf(p) {
		if n.standing(want, in) == absent {
			add("the route to %v via %v over %s is missing", want.To, want.Via, p.Interface)
		}
	}
}
