package node

import (
	"net/netip"

	"github.com/berth-ipam/berth/netops"
)

// ReadHost reads the host's own addresses, and keeps them for HostWithin.
func (n *Node) ReadHost() ([]netops.HostAddress, error) {
	all, err := n.Kernel().HostAddresses()
	if err == nil {
		n.host.Store(&all)
	}
	return all, err
}

// HostWithin are the host's own addresses within a part, as they were last read.
func (n *Node) HostWithin(part netip.Prefix) (own []netip.Addr) {
	if all := n.host.Load(); all != nil {
		for _, host := range *all {
			if part.Contains(host.Address) {
				own = append(own, host.Address)
			}
		}
	}
	return own
}
