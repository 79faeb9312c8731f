package allocator

import (
	"fmt"
	"net/netip"
)

// A Mode is how the packets of a pool's containers get from node to node.
type Mode string

// The modes of a pool. Flat is not written down: a pool that says nothing of its mode is flat.
const (
	Flat   Mode = ""       // containers are on a bridge, and share a layer-2 network with the nodes where it has an uplink
	Routed Mode = "routed" // containers are behind their node, and each node routes to the others' containers
)

// Modes are the names of the modes, as people write them.
func Modes() []string { return []string{Flat.String(), Routed.String()} }

func (m Mode) String() string {
	if m == Flat {
		return "flat"
	}
	return string(m)
}

// UnmarshalText reads a mode's name. Whether there is such a mode is for Validate to say.
func (m *Mode) UnmarshalText(text []byte) error {
	if *m = Mode(text); *m == "flat" {
		*m = Flat
	}
	return nil
}

// linkLocalV4 are addresses whose packets no router passes on (RFC 3927, section 7).
var linkLocalV4 = netip.MustParsePrefix("169.254.0.0/16")

// validMode is about the mode, and about what the other keys may say in it.
func (p *Pool) validMode() error {
	switch p.Mode {
	case Flat:
		if p.IPMasq {
			return fmt.Errorf("ipMasq: the networks of a flat pool say it: want ipMasq in their CNI configuration, or mode: routed")
		}
		return nil
	case Routed:
	default:
		return fmt.Errorf("mode %q: want flat or routed", string(p.Mode))
	}
	if len(p.Gateways) > 0 {
		return fmt.Errorf("gateways: a routed pool has none to configure: the gateway of its containers is %s and %s on each node: "+
			"leave the key out", RoutedGateways[V4], RoutedGateways[V6])
	}
	if p.OnLink {
		return fmt.Errorf("gatewayOnLink: a routed pool has no gateways to configure: leave the key out")
	}
	for _, c := range p.CIDRs {
		if c.Overlaps(linkLocalV4) {
			return fmt.Errorf("cidr %s overlaps %s, which no node routes: want another for a routed pool", c, linkLocalV4)
		}
	}
	for _, r := range p.Routes {
		if r.Via.IsValid() && r.Via != RoutedGateways[FamilyOf(r.To.Addr())] {
			return fmt.Errorf("route %s via %s: the containers of a routed pool reach nothing but their node directly: leave via out", r.To, r.Via)
		}
	}
	return nil
}

// RoutedGateways are the gateways of containers of routed pools, by family: the same on each node, so that nothing in a container
// depends on its node. They are link-local addresses (RFC 3927; RFC 4291, section 2.5.6), for which the host answers.
var RoutedGateways = [...]netip.Addr{V4: netip.AddrFrom4([4]byte{169, 254, 1, 1}), V6: netip.MustParseAddr("fe80::1")}

// Routed reports whether the pool's mode is Routed.
func (p *Pool) Routed() bool { return p.Mode == Routed }
