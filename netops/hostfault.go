package netops

// A HostFault is a difference between the host and what a bridge and its ports need.
type HostFault struct {
	Kind   string // one of HostFaultKinds
	Text   string // what is wrong
	Advice string // what an operator is to do; empty: EnsureBridge and RepairPorts repair it
}

// HostFaultKinds are all kinds of HostFaults.
var HostFaultKinds = []string{
	"bridge-gone", "bridge-taken", "bridge-down", "bridge-full", "uplink-gone", "uplink-renamed", "uplink-out", "uplink-elsewhere",
	"uplink-down", "uplink-left", "uplink-address", "lease-not-renewed",
	"gateway-gone", "gateway-left", "route-gone", "masquerade-gone", "forwarding-off", "services-bypassed", "port-off",
	"port-elsewhere", "port-down", "port-unrouted", "port-not-hairpin",
}
