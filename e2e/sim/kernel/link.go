package kernel

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// The kinds of a link.
const (
	loopback = "loopback"
	nic      = ""
	bridge   = "bridge"
	veth     = "veth"
)

const (
	minimumV6 = 1280 // the least MTU that IPv6 runs on
	minimum   = 68   // the least MTU of a link
	maximum   = 65535
	ordinary  = 1500
	mostPorts = 1023 // of a bridge
	ownBridge = "berth: bridge"
)

// A link is a network interface of a host or of a namespace.
type link struct {
	host  *Host
	ns    *Namespace // nil: it is the host's
	name  string
	kind  string
	index int
	alias string
	words string // what its alternative names hold, where they are too long for an alias
	mac   net.HardwareAddr
	mtu   int
	up    bool

	master    *link // the bridge that it is a port of
	hairpin   bool  // of a bridge's port
	peer      *link // of a veth
	addresses []address
	forwards  [2]bool // IPv4's, IPv6's
	promotes  bool    // a secondary address when the first one goes
	local     bool    // a NIC has the link-local address that the kernel gives it
	quiet     bool    // the kernel gives it none any more
}

type address struct {
	netip.Prefix
	ours bool // Berth gave it
}

// links are a namespace's or the host's.
type links map[string]*link

// ordered are all links by their indices, as the kernel lists them.
func (all links) ordered() []*link {
	list := make([]*link, 0, len(all))
	for _, l := range all {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *link) int { return a.index - b.index })
	return list
}

func (all links) find(name string) (*link, error) {
	if len(name) >= unix.IFNAMSIZ {
		return nil, fmt.Errorf("look up %s: %w", name, unix.ERANGE)
	}
	if l := all[name]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("look up %s: %w", name, unix.ENODEV)
}

// where are the links that this one is one of.
func (l *link) where() links {
	if l.ns != nil {
		return l.ns.links
	}
	return l.host.links
}

// says is the words of a link: its alias, or what its alternative names hold if the alias is their hash.
func (l *link) says() string {
	if l.words != "" && rtnl.ShortAlias(l.words) == l.alias {
		return l.words
	}
	return l.alias
}

// told is the kind that the kernel tells: none of loopback and NICs.
func (l *link) told() string {
	if l.kind == loopback {
		return ""
	}
	return l.kind
}

// wired reports whether frames of the link reach a bridge.
func (l *link) wired() bool { return l.up && l.master != nil && l.master.up }

func (l *link) isPort() bool { return strings.HasPrefix(l.name, netops.Prefix) }

func (l *link) has(p netip.Prefix) bool {
	return slices.ContainsFunc(l.addresses, func(a address) bool { return a.Prefix == p })
}

// join makes a link a bridge's port, or nobody's. As a new port it is not hairpin.
func (l *link) join(on *link) {
	l.hairpin = l.hairpin && l.master == on
	l.master = on
}

// give adds an address, unless the link has it.
func (l *link) give(a address) error {
	switch {
	case l.has(a.Prefix):
		return fmt.Errorf("add address %v to %s: %w", a.Prefix, l.name, unix.EEXIST)
	case a.Addr().Is6() && l.mtu < minimumV6:
		return fmt.Errorf("an IPv6 address is wanted on %s, but this kernel has no IPv6", l.name)
	}
	l.addresses = append(l.addresses, a)
	l.host.lan.note(l, a.Addr(), true)
	if l.ns == nil {
		l.host.tellAddress(a.Addr())
	} else if l.up {
		l.ns.connect(l, a.Prefix)
	}
	return nil
}

// take takes the addresses that gone picks off the link. With the first IPv4 address of a subnet its others go, unless the link
// promotes them.
func (l *link) take(gone func(address) bool) {
	former := l.addresses
	l.addresses = nil
	first := map[netip.Prefix]bool{} // of each subnet: whether its first address goes
	for _, a := range former {
		subnet, goes := a.Masked(), gone(a)
		with, later := first[subnet]
		if !later {
			first[subnet] = goes
		}
		if !goes && !(with && a.Addr().Is4() && !l.promotes) {
			l.addresses = append(l.addresses, a)
		}
	}
	for _, a := range former {
		switch {
		case l.has(a.Prefix):
			continue
		case l.ns != nil:
			l.ns.disconnect(l, a.Prefix)
		default:
			l.host.tellAddress(a.Addr())
		}
		l.host.lan.note(l, a.Addr(), false)
	}
}

// setUp brings a link up or down. A link that goes down loses its routes and its IPv6 addresses.
func (l *link) setUp(up bool) {
	if l.up == up {
		return
	}
	l.up, l.host.lan.changed = up, true
	l.local = up && l.kind == nic && !l.quiet && l.mtu >= minimumV6
	if !up {
		l.take(func(a address) bool { return a.Addr().Is6() })
		if l.ns != nil {
			l.ns.drop(func(r route) bool { return r.link == l })
		}
	}
	if up && l.ns != nil {
		for _, a := range l.addresses {
			l.ns.connect(l, a.Prefix)
		}
	}
}

// setMTU changes a link's MTU. Below IPv6's least a link loses what it has of IPv6.
func (l *link) setMTU(mtu int) error {
	if mtu < minimum || mtu > maximum {
		return fmt.Errorf("set MTU of %s: %w", l.name, unix.EINVAL)
	}
	if l.mtu = mtu; mtu < minimumV6 {
		l.take(func(a address) bool { return a.Addr().Is6() })
	}
	if mtu < minimumV6 && l.ns != nil {
		l.ns.drop(func(r route) bool { return r.link == l && r.To.Addr().Is6() })
	}
	return nil
}

// remove ends a link, and its peer with it.
func (l *link) remove() {
	if l.where()[l.name] != l {
		return
	}
	l.take(func(address) bool { return true })
	if l.ns != nil {
		l.ns.drop(func(r route) bool { return r.link == l })
	}
	delete(l.where(), l.name)
	for _, port := range l.host.links {
		if port.master == l {
			port.join(nil)
		}
	}
	l.host.lan.changed = true
	if l.peer != nil {
		l.peer.remove()
	}
}

// macOf derives a link-layer address from names, where the real kernel takes a random one.
func macOf(first byte, parts ...any) net.HardwareAddr {
	hash := fnv.New64a()
	fmt.Fprintln(hash, parts...)
	mac := binary.BigEndian.AppendUint64(nil, hash.Sum64())[2:]
	mac[0] = first
	return mac
}
