package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Mode is how the packets of a pool's containers get from node to node.
type Mode string

// The modes of a pool. Flat is not written down: a pool that says nothing of its mode is flat.
const (
	Flat   Mode = ""       // containers are on a bridge, and share a layer-2 network with the nodes where it has an uplink
	Routed Mode = "routed" // containers are behind their node, and each node routes to the others' containers over a shared layer-2 network
	VXLAN  Mode = "vxlan"  // as in Routed, but each packet between nodes is inside of one from node to node (RFC 7348)
	Auto   Mode = "auto"   // as in Routed between nodes that share a layer-2 network, as in VXLAN between others
)

// Modes are the names of the modes, as people write them.
func Modes() []string { return []string{Flat.String(), Routed.String(), VXLAN.String(), Auto.String()} }

// SomeMode says which modes there are: what to write instead of another word.
func SomeMode() string {
	names := Modes()
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

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
	switch {
	case !slices.Contains(Modes(), p.Mode.String()):
		return fmt.Errorf("mode %q: want %s", string(p.Mode), SomeMode())
	case p.Mode == Flat && p.IPMasq:
		return fmt.Errorf("ipMasq: the networks of a flat pool say it: want ipMasq in their CNI configuration, or another mode than flat")
	case p.Mode == Flat:
		return nil
	}
	if len(p.Gateways) > 0 {
		return fmt.Errorf("gateways: a pool of mode %s has none to configure: the gateway of its containers is %s and %s on each node: "+
			"leave the key out", p.Mode, RoutedGateways[V4], RoutedGateways[V6])
	}
	if p.OnLink {
		return fmt.Errorf("gatewayOnLink: a pool of mode %s has no gateways to configure: leave the key out", p.Mode)
	}
	for _, c := range p.CIDRs {
		if c.Overlaps(linkLocalV4) {
			return fmt.Errorf("cidr %s overlaps %s, which no node routes: want another for a pool of mode %s", c, linkLocalV4, p.Mode)
		}
	}
	for _, r := range p.Routes {
		if r.Via.IsValid() && r.Via != RoutedGateways[FamilyOf(r.To.Addr())] {
			return fmt.Errorf("route %s via %s: the containers of a pool of mode %s reach nothing but their node directly: leave via out",
				r.To, r.Via, p.Mode)
		}
	}
	return nil
}

// RoutedGateways are the gateways of containers of routed pools, by family: the same on each node, so that nothing in a container
// depends on its node. They are link-local addresses (RFC 3927; RFC 4291, section 2.5.6), for which the host answers.
var RoutedGateways = [...]netip.Addr{V4: netip.AddrFrom4([4]byte{169, 254, 1, 1}), V6: netip.MustParseAddr("fe80::1")}

// Layer3 reports whether the pool's containers are behind their node, which is their only neighbour: whatever the nodes route to each
// other over. Between such modes nothing changes in a container but its MTU.
func (p *Pool) Layer3() bool { return p.Mode != Flat }
