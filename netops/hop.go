package netops

import "net/netip"

// A Hop is the way to another node. The zero Hop is none.
type Hop struct {
	Via netip.Addr // that node's own address. For Tunnel it may be of another family than what it leads to: see Towards
	Way Way
}

// IsValid reports whether there is a way.
func (h Hop) IsValid() bool { return h.Via.IsValid() }

// A Way is how packets get to another node.
type Way uint8

// The kinds of a Way.
const (
	Direct  Way = iota // the node's address is the next hop, which a link of this host must reach
	Tunnel             // through the VXLAN device, to the node's address
	Nearest            // Direct where a subnet of a link of this host has the node's address, else Tunnel
)

// A TunnelSpec is what all nodes must have alike for their tunnels to meet.
type TunnelSpec struct {
	ID   uint32 // VXLAN's network identifier, of 24 bits (RFC 7348, section 5)
	Port uint16 // UDP
}

// DefaultTunnel has the port of RFC 7348, section 5.
var DefaultTunnel = TunnelSpec{ID: 98, Port: 4789}

// Towards picks the address of another node to which containers' packets of a family go: that of the family itself where both nodes
// have one, else one of the other family, if both have one (which takes a tunnel); else none. Both nodes pick alike, so that packets
// come back by the way that they went. node and own are the addresses that the nodes have said, at most one a family.
func Towards(is4 bool, node, own []netip.Addr) netip.Addr {
	for _, family := range [...]bool{is4, !is4} {
		if a := ofFamily(family, node); a.IsValid() && ofFamily(family, own).IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// ofFamily is the first of the addresses that is of a family.
func ofFamily(is4 bool, all []netip.Addr) netip.Addr {
	for _, a := range all {
		if a.Is4() == is4 {
			return a
		}
	}
	return netip.Addr{}
}
