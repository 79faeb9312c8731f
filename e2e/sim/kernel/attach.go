package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// errPresent says that the host or the container has a link of the wanted name.
var errPresent = errors.New("an interface of its names exists")

// Attach makes a port, in no traffic class.
func (k *Kernel) Attach(p netops.Port) (made netops.Attached, err error) {
	err = k.do("Attach", func() error {
		n, err := k.own(&p)
		if err != nil {
			return err
		}
		if made, err = k.attach(n, &p); !errors.Is(err, errPresent) {
			return err
		}
		var faults []string
		if made, faults = k.inspect(n, &p); len(faults) == 0 {
			k.host.links[p.Name].write(p.Alias)
			return nil
		}
		if err := k.detach(p.Name); err != nil {
			return err
		}
		if made, err = k.attach(n, &p); errors.Is(err, errPresent) {
			return &netops.ForeignError{Interface: p.Interface, Netns: p.Netns.Name()}
		}
		return err
	})
	if err != nil {
		return netops.Attached{}, err
	}
	return made, nil
}

// own validates a port and finds its namespace, which has to be a live one of this host.
func (k *Kernel) own(p *netops.Port) (*Namespace, error) {
	n, err := k.lan.validate(p)
	if err == nil && (n.ended || n.host != k.host) {
		err = fmt.Errorf("enter network namespace %s: it has ended", p.Netns.Name())
	}
	return n, err
}

func (k *Kernel) attach(n *Namespace, p *netops.Port) (netops.Attached, error) {
	host, err := k.create(n, p)
	if err != nil {
		return netops.Attached{}, err
	}
	k.point("Attach, made")
	if k.host.links[p.Name] != host {
		return netops.Attached{}, fmt.Errorf("look up %s: %w", p.Name, unix.ENODEV)
	}
	err = k.fence.leave(&k.host.nft, p.Name) // it may have been left by a port of this name before
	if err == nil {
		err = n.configure(p, host.peer)
	}
	if err != nil {
		host.remove()
		return netops.Attached{}, err
	}
	return attached(host), nil
}

func attached(host *link) netops.Attached {
	return netops.Attached{HostMAC: host.mac.String(), MAC: host.peer.mac.String(), MTU: host.mtu, Index: host.index}
}

// create makes both ends, the host's up and on the bridge, its peer down.
func (k *Kernel) create(n *Namespace, p *netops.Port) (*link, error) {
	on, h := k.host.links[p.Bridge], k.host
	mac := macFor(p)
	mtu := p.MTU
	if on != nil && mtu == 0 {
		mtu = on.mtu
	}
	switch {
	case p.Routed:
		return nil, errRouted
	case on == nil:
		return nil, fmt.Errorf("bridge %q does not exist", p.Bridge)
	case on.kind != bridge:
		return nil, fmt.Errorf("%q is not a bridge", p.Bridge)
	case h.links[p.Name] != nil:
		h.links[p.Name].claim(p)
		return nil, errPresent
	case mtu < minimum || mtu > maximum, strings.ContainsAny(p.Interface, "/: "), p.Interface == ".", p.Interface == "..":
		return nil, k.failed(p, unix.EINVAL)
	case len(mac) != 6, mac[0]&1 != 0:
		return nil, k.failed(p, unix.EADDRNOTAVAIL)
	case n.links[p.Interface] != nil:
		return nil, errPresent
	case on.full():
		return nil, &netops.FullError{Bridge: p.Bridge}
	}
	host, inner := h.add(p.Name, veth), n.add(p.Interface, veth)
	host.mtu, host.master, host.peer = mtu, on, inner
	host.claim(p)
	host.write(p.Alias)
	host.mac = macOf(0xfe, h.Name, p.Name, host.index)
	inner.mac, inner.mtu, inner.peer = mac, mtu, host
	h.identify(n, 0)
	k.lan.changed = true
	return host, nil
}

// write keeps words that are too long for an alias.
func (l *link) write(words string) {
	if len(words) > rtnl.MaxAlias {
		l.words = words
	}
}

// failed is why a pair could not be made, of which nothing is left.
func (k *Kernel) failed(p *netops.Port, cause error) error {
	return errors.Join(fmt.Errorf("make veth pair %s, %s: %w", p.Name, p.Interface, cause), k.detach(p.Name))
}

// claim is what the kernel does to the link that has a port's name, whether that was made just now or not: the messages to it go
// in one send.
func (l *link) claim(p *netops.Port) {
	if l.master == nil {
		return // what is to be hairpin has to be a port: the kernel refuses the whole message
	}
	l.hairpin = true
	l.setUp(true)
	if p.Alias != "" {
		l.alias = rtnl.ShortAlias(p.Alias)
	}
}

// ports are the links on a bridge.
func (l *link) ports() (all []*link) {
	for _, p := range l.host.links.ordered() {
		if p.master == l {
			all = append(all, p)
		}
	}
	return all
}

// full reports whether a bridge has as many ports as it can have.
func (l *link) full() bool {
	n := 0
	for _, p := range l.host.links {
		if p.master == l {
			n++
		}
	}
	return n >= mostPorts
}

// configure brings a port's end up and gives it its addresses and routes.
func (n *Namespace) configure(p *netops.Port, l *link) error {
	held := slices.Clone(n.routes)
	l.setUp(true)
	for _, a := range p.Addresses {
		if err := l.give(address{Prefix: a}); err != nil {
			return err
		}
	}
	before := Namespace{routes: held}
	for _, r := range routesOf(p) {
		if before.standing(r, l) != absent {
			continue // another interface of the container leads there already: the first one's route stays
		}
		if err := n.put(p, l, r, true); err != nil {
			return err
		}
	}
	return nil
}

// Detach ends a port, and takes it out of its class.
func (k *Kernel) Detach(port string) error {
	return k.do("Detach", func() error { return k.detach(port) })
}

func (k *Kernel) detach(port string) error {
	if !strings.HasPrefix(port, netops.Prefix) {
		return fmt.Errorf("want a port's name, which begins with %q", netops.Prefix)
	}
	if l := k.host.links[port]; l != nil {
		l.remove()
		k.host.tell(netops.Event{Kind: netops.PortGone, Port: port}, k)
	}
	return k.fence.leave(&k.host.nft, port)
}

// Announce tells the neighbours of a port: they resolve its address in any case here.
func (k *Kernel) Announce(netops.Port) { _ = k.do("Announce", func() error { return nil }) }

// Ports lists the ports of this host.
func (k *Kernel) Ports() (ports []netops.PortInfo, err error) {
	err = k.do("Ports", func() error {
		for _, l := range k.host.links.ordered() {
			if !l.isPort() {
				continue
			}
			info := netops.PortInfo{Name: l.name, Alias: l.says(), Index: l.index}
			if l.master != nil {
				info.Bridge = l.master.name
			}
			ports = append(ports, info)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ports, nil
}

// HasPort reports whether the host has a link of that name, and true where it cannot be asked.
func (k *Kernel) HasPort(name string) (has bool) {
	err := k.do("HasPort", func() error { has = k.host.links[name] != nil; return nil })
	return has || err != nil
}
