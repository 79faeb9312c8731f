package conflict

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// ProxyARP is the kind of the finding that a host on the wire answers for addresses that no host has.
const ProxyARP = "proxy-arp"

// ProxyAt is for how many unassigned addresses one MAC answers before it counts as proxy ARP.
const ProxyAt = 8

// A proxyMAC answers for addresses that no host has. Its answers are ignored.
type proxyMAC struct {
	space    addresses.SpaceKey
	bridge   string
	answered []netip.Addr // the addresses that it has answered for
}

// FindProxies finds the MACs that answer for more of the probed addresses than a host can have, and reports them.
func (d *Detector) FindProxies(k addresses.SpaceKey, bridge string, ask []netip.Addr, answers map[netip.Addr]net.HardwareAddr) {
	by := map[string][]netip.Addr{}
	for addr, mac := range answers {
		by[mac.String()] = append(by[mac.String()], addr)
	}
	for mac, answered := range by {
		if len(answered) < ProxyAt || len(answered) <= len(ask)/2 {
			continue
		}
		d.setProxy(mac, proxyMAC{k, bridge, answered})
		d.Findings.Set(ProxyARP, mac, fmt.Sprintf("%s on bridge %s answers for many addresses that nobody has: it is proxy ARP, and "+
			"its answers are ignored", mac, bridge),
			"switch proxy ARP off on that router, or set probe to off in the settings: hosts behind it cannot be told from free addresses")
	}
}

// RecheckProxies probes again what proxies have answered for. A MAC that has stopped is no proxy any more, and its addresses are
// probed anew.
func (d *Detector) RecheckProxies(ctx context.Context) {
	for mac, p := range d.allProxies() {
		held := func(addr netip.Addr) bool { return d.Journal.Holder(p.space.Pool, addr) != nil }
		ask := slices.DeleteFunc(slices.Clone(p.answered), held)
		switch {
		case !d.Kernel().HasPort(p.bridge): // no container is on it
		case len(ask) == 0:
			continue // containers of this node do not count
		default:
			answers, err := d.Kernel().Probe(ctx, p.bridge, ask)
			if err != nil {
				d.Log.Debug("the wire cannot be asked whether somebody still answers for all; it is tried again",
					zap.String("bridge", p.bridge), zap.Error(err))
				continue
			}
			maps.DeleteFunc(answers, func(_ netip.Addr, by net.HardwareAddr) bool { return by.String() != mac })
			if len(answers) > len(ask)/2 {
				continue
			}
		}
		d.forgetProxy(mac)
		d.Findings.Clear(ProxyARP, mac)
		d.addresses.Pools.With(p.space, func(s *allocator.Space) {
			s.Ask(false)
			s.Ask(d.Config().Settings.Probe != record.ProbeOff)
		})
		d.addresses.Gained.Raise()
	}
}

// ForgetProxies drops all proxies, when probing is switched off.
func (d *Detector) ForgetProxies() {
	for mac := range d.allProxies() {
		d.forgetProxy(mac)
		d.Findings.Clear(ProxyARP, mac)
	}
}

func (d *Detector) setProxy(mac string, p proxyMAC) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proxies == nil {
		d.proxies = map[string]proxyMAC{}
	}
	d.proxies[mac] = p
}

func (d *Detector) forgetProxy(mac string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.proxies, mac)
}

func (d *Detector) allProxies() map[string]proxyMAC {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.proxies)
}

// IsProxy reports whether a MAC is known as proxy ARP.
func (d *Detector) IsProxy(mac net.HardwareAddr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.proxies[mac.String()]
	return is
}
