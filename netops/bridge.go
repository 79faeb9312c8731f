package netops

import "net/netip"

// A Bridge is how a bridge is to be configured.
type Bridge struct {
	Name       string
	Uplink     string         // a NIC of the host that becomes its port, or none
	Addresses  []netip.Prefix // of the host on it: a pool's gateway, if no router has it
	Subnets    []netip.Prefix // behind it: the host gets a link route to each of which the bridge has no address
	Masquerade []netip.Prefix // what leaves the pools of these CIDRs takes the host's address
	Cluster    []netip.Prefix // where it keeps its own, besides those pools
	MTU        int            // bytes, that its ports are to have room for; 0: whatever it has
}

// BridgeState is what EnsureBridge has made.
type BridgeState struct {
	MAC   string
	Index int
}
