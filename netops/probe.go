package netops

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/berth-ipam/berth/netops/l2"
)

// Probe probes addresses on the wire of a link, which is a bridge or a port of one: see l2.Probe.
func (k *Kernel) Probe(ctx context.Context, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error) {
	found, err := l2.Probe(ctx, k.home, link, addrs)
	if err != nil {
		return found, fmt.Errorf("netops: probe on %s: %w", link, err)
	}
	return found, nil
}
