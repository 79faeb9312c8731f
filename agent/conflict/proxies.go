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

// ProxyARP is the kind of the finding that somebody on the wire answers for addresses that nobody has.
const ProxyARP = "proxy-arp"

// ProxyAt is for how many unheld addresses one MAC answers that is no host, but proxy ARP.
const ProxyAt = 8

// A proxyMAC answers for addresses which nobody has: what it answers tells nothing.
type proxyMAC struct {
	space    addresses.SpaceKey
	bridge   string
	answered []netip.Addr // for which it was found to answer
}

// FindProxies looks among answers for MACs that answer for too many of the asked addresses to be hosts, and tells of them.
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

// RecheckProxies asks the wire again for what proxies have answered for. One that does not any more is no proxy, and who else has
// those addresses is asked anew.
func (d *Detector) RecheckProxies(ctx context.Context) {
	for mac, p := range d.allProxies() {
		held := func(addr netip.Addr) bool { return d.Journal.Holder(p.space.Pool, addr) != nil }
		ask := slices.DeleteFunc(slices.Clone(p.answered), held)
		switch {
		case !d.Kernel.HasPort(p.bridge): // nobody is on it, so nothing is given out behind it
		case len(ask) == 0:
			continue // what containers here have tells nothing
		default:
			answers, err := d.Kernel.Probe(ctx, p.bridge, ask)
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

// ForgetProxies is for when the wire is not asked any more.
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

// IsProxy reports whether a MAC was found to answer for everything.
func (d *Detector) IsProxy(mac net.HardwareAddr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.proxies[mac.String()]
	return is
}
