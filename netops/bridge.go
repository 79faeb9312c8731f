package netops

import "net/netip"

// A Bridge is what joins ports on this host, as it is to be.
type Bridge struct {
	Name       string
	Uplink     string         // a NIC of the host that becomes its port, or none
	Addresses  []netip.Prefix // that the host has on it: a pool's gateway, where there is no other
	Subnets    []netip.Prefix // that lie behind it though none of Addresses says so: the host gets a route to each
	Masquerade []netip.Prefix // what leaves the pools of these CIDRs takes the host's address
	MTU        int            // bytes, that its ports are to have room for; 0: whatever it has
}

// BridgeState is what the kernel made of a Bridge.
type BridgeState struct {
	MAC   string
	Index int
}
