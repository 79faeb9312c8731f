package netops

// A HostFault is what of the host is not as a bridge and its ports need it.
type HostFault struct {
	Kind   string // one of HostFaultKinds
	Text   string // what is wrong
	Person string // what a person is to do; empty: EnsureBridge and MendPorts put it right
}

// HostFaultKinds are all kinds of HostFaults.
var HostFaultKinds = []string{
	"bridge-gone", "bridge-taken", "bridge-down", "bridge-full", "uplink-gone", "uplink-renamed", "uplink-out", "uplink-elsewhere",
	"uplink-down", "uplink-address", "lease-not-renewed", "gateway-gone", "masquerade-gone", "forwarding-off", "port-off", "port-elsewhere",
	"port-down",
}
