package netops

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/berth-ipam/berth/netops/l2"
)

// Probe asks the wire on a link, which is a bridge or has one before it, who has the addresses: see l2.Probe.
func (k *Kernel) Probe(ctx context.Context, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error) {
	found, err := l2.Probe(ctx, k.home, link, addrs)
	if err != nil {
		return found, fmt.Errorf("netops: probe on %s: %w", link, err)
	}
	return found, nil
}
