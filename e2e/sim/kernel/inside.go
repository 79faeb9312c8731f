package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
)

// What a container, or a later plugin of the chain, does to its own interfaces.

// AddInterface makes an interface that is no port.
func (n *Namespace) AddInterface(name string) error {
	var err error
	n.host.lan.change(func() {
		if n.links[name] != nil {
			err = fmt.Errorf("make %s: %w", name, unix.EEXIST)
			return
		}
		l := n.add(name, nic)
		l.mac, l.up = macOf(2, n.cookie, name), true
	})
	return err
}

// RemoveInterface ends one, and a port with it.
func (n *Namespace) RemoveInterface(name string) error {
	return n.change(name, func(l *link) error {
		if l.peer != nil {
			l.host.tell(netops.Event{Kind: netops.PortGone, Port: l.peer.name}, nil)
		}
		l.remove()
		return nil
	})
}

// Rename gives an interface another name.
func (n *Namespace) Rename(from, to string) error {
	return n.change(from, func(l *link) error {
		if n.links[to] != nil {
			return unix.EEXIST
		}
		delete(n.links, from)
		l.name, n.links[to] = to, l
		return nil
	})
}

// SetUp brings an interface up or down.
func (n *Namespace) SetUp(name string, up bool) error {
	return n.change(name, func(l *link) error { l.setUp(up); return nil })
}

// SetMTU changes the MTU of an interface.
func (n *Namespace) SetMTU(name string, mtu int) error {
	return n.change(name, func(l *link) error { return l.setMTU(mtu) })
}

// SetMAC changes the link-layer address of an interface.
func (n *Namespace) SetMAC(name string, mac net.HardwareAddr) error {
	return n.change(name, func(l *link) error { l.mac = mac; return nil })
}

// SetAddress gives an interface an address, or takes it away.
func (n *Namespace) SetAddress(name string, p netip.Prefix, on bool) error {
	return n.change(name, func(l *link) error {
		if on {
			return l.give(address{Prefix: p})
		}
		if !l.has(p) {
			return unix.EADDRNOTAVAIL
		}
		l.take(func(a address) bool { return a.Prefix == p })
		return nil
	})
}

// MoveRoutes moves the routes to a prefix over an interface to another table; 0: it removes them.
func (n *Namespace) MoveRoutes(name string, to netip.Prefix, table int) error {
	return n.change(name, func(l *link) error {
		n.routes = slices.DeleteFunc(n.routes, func(r route) bool { return table == 0 && r.link == l && r.To == to })
		for i, r := range n.routes {
			if r.link == l && r.To == to {
				n.routes[i].table = table
			}
		}
		return nil
	})
}

func (n *Namespace) change(name string, f func(*link) error) (err error) {
	n.host.lan.change(func() {
		var l *link
		if l, err = n.links.find(name); err == nil {
			err = f(l)
			n.host.lan.changed = true
		}
	})
	if err != nil {
		return fmt.Errorf("namespace %s: %s: %w", n.path, name, err)
	}
	return nil
}
