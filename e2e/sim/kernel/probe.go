package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/l2"
)

const askTimes = 3

// Probe probes addresses on the wire of a link, as l2.Probe does: three times, and no longer than until all have answered.
func (k *Kernel) Probe(ctx context.Context, name string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error) {
	found := map[netip.Addr]net.HardwareAddr{}
	for range askTimes {
		if err := k.do("Probe", func() error { return k.ask(name, addrs, found) }); err != nil {
			return found, err
		}
		all := true
		for _, a := range addrs {
			all = all && found[a] != nil
		}
		if all {
			return found, nil
		}
		wait := time.NewTimer(l2.AskEvery)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return found, fmt.Errorf("netops: probe on %s: %w", name, ctx.Err())
		}
	}
	return found, nil
}

// ask notes who answers now.
func (k *Kernel) ask(name string, addrs []netip.Addr, found map[netip.Addr]net.HardwareAddr) error {
	from := k.host.links[name]
	switch {
	case from == nil:
		return errors.New("link not found")
	case len(from.mac) != 6:
		return fmt.Errorf("it has address %q: want a link of Ethernet", from.mac)
	case !from.up && len(addrs) > 0:
		return fmt.Errorf("ask for %v: %w", addrs[0], unix.ENETDOWN)
	}
	if from.master != nil {
		from = from.master
	}
	for _, a := range addrs {
		for _, i := range k.lan.index[a] {
			for by := range i.ways(a) {
				if mac := by.heard(a, from); mac != nil && found[a] == nil {
					found[a] = mac
				}
			}
		}
	}
	return nil
}

// heard is the MAC by which a link answers a host's question from another link for an address; nil: it is not heard.
func (l *link) heard(a netip.Addr, from *link) net.HardwareAddr {
	switch {
	case l.ns == nil && l.host != from.host && from.outside():
		return l.host.receives(a, l)
	case l.ns == nil || !l.answer(a).Passes:
		return nil
	case l.peer.master == from || from.outside() && l.peer.master.outside():
		return l.mac
	}
	return nil
}

// outside reports whether frames of a bridge, or of a NIC that is no port, reach the LAN.
func (l *link) outside() bool {
	switch {
	case l.host.cut || l.host.sleeps() || !l.up:
		return false
	case l.kind == nic:
		return true
	}
	for _, p := range l.ports() {
		if p.kind == nic && p.up {
			return true
		}
	}
	return false
}

// receives is the MAC of the link by which a host gets a question of the LAN for an address of one of its links. For IPv6 it has to
// be that link, since no other listens for it.
func (h *Host) receives(a netip.Addr, has *link) net.HardwareAddr {
	for _, l := range h.links.ordered() {
		if l.master == nil && l.outside() && (l == has || a.Is4()) {
			return l.mac
		}
	}
	return nil
}
