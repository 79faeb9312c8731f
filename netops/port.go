package netops

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// Prefix begins the name of the host's end of every port. No other link of the host may have such a name: its frames are dropped
// unless the port has joined a class.
const Prefix = fence.PortPrefix

// A Member is a port as the fence has it: see fence.Member.
type Member = fence.Member

// A Range is some addresses: see fence.Range.
type Range = fence.Range

// A Port is one container's link to the host, as it is to be: a veth pair with one end on the host and the other inside the
// container's network namespace. The host's end is on a bridge, or the host routes to it.
type Port struct {
	Name      string           // of the host's end, at most 15 bytes; see PortName
	Alias     string           // of the host's end: the owner, as a text that it reads back (at most 4,096 bytes)
	Bridge    string           // that the host's end is a port of; routed: none
	Routed    bool             // the host's end is on no bridge: the host routes to the container's addresses, see Lead
	Answers   []netip.Prefix   // of the host's end of a routed port: the container's IPv6 gateway, if it is link-local
	Netns     *os.File         // the container's network namespace; the caller closes it
	Interface string           // the container's end
	MAC       net.HardwareAddr // of the container's end; none: MACFor(Addresses)
	MTU       int              // bytes, both ends; 0: the bridge's when it was made; routed: 1500
	ChainMTU  int              // bytes: that a later plugin of the chain has given the container's end; 0: none
	Addresses []netip.Prefix   // of the container's end, with the length of the subnet's prefix
	Gateways  []netip.Addr     // where a family's default route leads, unless Routes has another
	OnLink    bool             // neighbours that routes lead via need not lie in the subnet: they are on the link all the same
	Routes    []Route
}

// A Route leads to a prefix via a neighbour on the Port's link, which the Port's subnet contains, unless it says OnLink.
// Without Via it leads via the family's gateway, and without one of those over the link itself.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Attached is what the kernel made of a Port.
type Attached struct {
	HostMAC string // of the host's end
	MAC     string // of the container's end
	MTU     int    // bytes
	Index   int    // of the host's end, in the host's namespace
}

// A PortInfo is a port as the host's kernel has it.
type PortInfo struct {
	Name   string
	Alias  string
	Bridge string // none: it is no bridge's port
	Index  int
}

// PortName is the name of the host's end for an attachment: Prefix and twelve hexadecimal digits of a hash.
func PortName(network, container, iface string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{network, container, iface}, "/")))
	return Prefix + hex.EncodeToString(sum[:6])
}

// MACFor derives a link-layer address from the first IPv4 address, else from the first IPv6 one, so that it stays
// with an address that moves. It is unicast and locally administered (IEEE 802, section 8.4); IPv4's are unique.
func MACFor(addrs []netip.Addr) net.HardwareAddr {
	mac := net.HardwareAddr{0xbe, 0, 0, 0, 0, 0}
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 := a.As4()
			copy(mac[2:], v4[:])
			return mac
		}
	}
	if len(addrs) > 0 {
		hash := fnv.New64a()
		v6 := addrs[0].As16()
		hash.Write(v6[:])
		sum := hash.Sum(nil)
		copy(mac[1:], sum[3:])
		mac[1] |= 0x80
	}
	return mac
}

// mac is what the container's end is to have.
func (p *Port) mac() net.HardwareAddr {
	if len(p.MAC) != 0 {
		return p.MAC
	}
	addrs := make([]netip.Addr, len(p.Addresses))
	for i, a := range p.Addresses {
		addrs[i] = a.Addr()
	}
	return MACFor(addrs)
}

// gateway is the one of an address's family; none: the zero address.
func (p *Port) gateway(of netip.Addr) netip.Addr {
	for _, g := range p.Gateways {
		if g.Is4() == of.Is4() {
			return g
		}
	}
	return netip.Addr{}
}

// routes are all that the container is to have: those that were named, then default ones via the gateways.
func (p *Port) routes() []Route {
	var all []Route
	named := map[netip.Prefix]bool{}
	for _, r := range p.Routes {
		if !r.Via.IsValid() {
			r.Via = p.gateway(r.To.Addr())
		}
		named[r.To] = true
		all = append(all, r)
	}
	for _, g := range p.Gateways {
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if g.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if !named[everywhere] {
			all = append(all, Route{everywhere, g})
		}
	}
	return all
}

// reaches reports whether a subnet of the port contains an address.
func (p *Port) reaches(addr netip.Addr) bool {
	return slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return a.Contains(addr) })
}

func (p *Port) hasV4() bool {
	return slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() })
}

func (p *Port) hasV6() bool {
	return slices.ContainsFunc(p.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// validate reports what no kernel could make.
func (p *Port) validate() error {
	if !strings.HasPrefix(p.Name, Prefix) || len(p.Name) >= unix.IFNAMSIZ {
		return fmt.Errorf("port name %q: want %q and at most %d bytes in all, as PortName gives it",
			p.Name, Prefix, unix.IFNAMSIZ-1)
	}
	if p.Interface == "" || len(p.Interface) >= unix.IFNAMSIZ {
		return fmt.Errorf("interface name %q: want 1 to %d bytes", p.Interface, unix.IFNAMSIZ-1)
	}
	if len(p.Alias) > rtnl.MaxWords {
		return fmt.Errorf("alias of %d bytes: at most %d are allowed", len(p.Alias), rtnl.MaxWords)
	}
	if len(p.Addresses) == 0 {
		return errors.New("no address is given: want at least one")
	}
	for _, a := range p.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() {
			return fmt.Errorf("address %v: want an address and the length of its subnet's prefix", a)
		}
	}
	if p.Routed && p.Bridge != "" {
		return fmt.Errorf("bridge %q is given for a port that the host routes to: want none", p.Bridge)
	}
	seen := map[netip.Prefix]bool{}
	for _, r := range p.routes() {
		if seen[r.To.Masked()] {
			return fmt.Errorf("two routes to %v: want at most one", r.To)
		}
		seen[r.To.Masked()] = true
		if !r.To.IsValid() || r.Via.IsValid() && r.Via.Is4() != r.To.Addr().Is4() {
			return fmt.Errorf("route to %v via %v: want a prefix, and a gateway of its family", r.To, r.Via)
		}
	}
	return rtnl.CheckNamespace(p.Netns)
}
