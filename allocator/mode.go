package allocator

import "net/netip"

// A Mode is how the packets of a pool's containers get from node to node.
type Mode string

// The modes of a pool. A pool without one is flat.
const (
	Flat   Mode = "flat"   // containers are on a bridge, and share a layer-2 network with the nodes where it has an uplink
	Routed Mode = "routed" // containers are behind their node, and each node routes to the others' containers
)

// RoutedGateways are the gateways of containers of routed pools, by family: the same on each node, so that nothing in a container
// depends on its node. They are link-local addresses (RFC 3927; RFC 4291, section 2.5.6), for which the host answers.
var RoutedGateways = [...]netip.Addr{V4: netip.AddrFrom4([4]byte{169, 254, 1, 1}), V6: netip.MustParseAddr("fe80::1")}

// Routed reports whether the pool's mode is Routed.
func (p *Pool) Routed() bool { return p.Mode == Routed }
