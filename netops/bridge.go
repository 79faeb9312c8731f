package netops

import "net/netip"

// A Bridge is how a bridge is to be configured.
type Bridge struct {
	Name       string
	Uplink     string         // a NIC of the host that becomes its port, or none
	Addresses  []netip.Prefix // of the host on it: a pool's gateway, if no router has it
	Subnets    []netip.Prefix // behind it, and not covered by Addresses: the host gets a route to each
	Masquerade []netip.Prefix // what leaves the pools of these CIDRs takes the host's address
	MTU        int            // bytes, that its ports are to have room for; 0: whatever it has
}

// BridgeState is what EnsureBridge has made.
type BridgeState struct {
	MAC   string
	Index int
}
