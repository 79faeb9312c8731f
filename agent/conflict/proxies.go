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
func (a *Detector) FindProxies(k addresses.SpaceKey, bridge string, ask []netip.Addr, answers map[netip.Addr]net.HardwareAddr) {
	by := map[string][]netip.Addr{}
	for addr, mac := range answers {
		by[mac.String()] = append(by[mac.String()], addr)
	}
	for mac, answered := range by {
		if len(answered) < ProxyAt || len(answered) <= len(ask)/2 {
			continue
		}
		a.setProxy(mac, proxyMAC{k, bridge, answered})
		a.Findings.Set(ProxyARP, mac, fmt.Sprintf("%s on bridge %s answers for many addresses that nobody has: it is proxy ARP, and "+
			"its answers are ignored", mac, bridge),
			"switch proxy ARP off on that router, or set probe to off in the settings: hosts behind it cannot be told from free addresses")
	}
}

// LookAtProxies asks the wire again for what proxies have answered for. One that does not any more is no proxy, and who else has
// those addresses is asked anew.
func (a *Detector) LookAtProxies(ctx context.Context) {
	for mac, p := range a.allProxies() {
		held := func(addr netip.Addr) bool { return a.Journal.Holder(p.space.Pool, addr) != nil }
		ask := slices.DeleteFunc(slices.Clone(p.answered), held)
		switch {
		case !a.Kernel.HasPort(p.bridge): // nobody is on it, so nothing is given out behind it
		case len(ask) == 0:
			continue // what containers here have tells nothing
		default:
			answers, err := a.Kernel.Probe(ctx, p.bridge, ask)
			if err != nil {
				a.Log.Debug("the wire cannot be asked whether somebody still answers for all; it is tried again",
					zap.String("bridge", p.bridge), zap.Error(err))
				continue
			}
			maps.DeleteFunc(answers, func(_ netip.Addr, by net.HardwareAddr) bool { return by.String() != mac })
			if len(answers) > len(ask)/2 {
				continue
			}
		}
		a.forgetProxy(mac)
		a.Findings.Clear(ProxyARP, mac)
		a.addresses.Pools.With(p.space, func(s *allocator.Space) {
			s.Ask(false)
			s.Ask(a.Config().Settings.Probe != record.ProbeOff)
		})
		a.addresses.Gained.Raise()
	}
}

// ForgetProxies is for when the wire is not asked any more.
func (a *Detector) ForgetProxies() {
	for mac := range a.allProxies() {
		a.forgetProxy(mac)
		a.Findings.Clear(ProxyARP, mac)
	}
}

func (a *Detector) setProxy(mac string, p proxyMAC) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proxies == nil {
		a.proxies = map[string]proxyMAC{}
	}
	a.proxies[mac] = p
}

func (a *Detector) forgetProxy(mac string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.proxies, mac)
}

func (a *Detector) allProxies() map[string]proxyMAC {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.proxies)
}

// IsProxy reports whether a MAC was found to answer for everything.
func (a *Detector) IsProxy(mac net.HardwareAddr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, is := a.proxies[mac.String()]
	return is
}
