package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// proxyARP is the kind of the finding that somebody on the wire answers for addresses that nobody has.
const proxyARP = "proxy-arp"

// proxyAt is for how many unheld addresses one MAC answers that is no host, but proxy ARP.
const proxyAt = 8

// A proxyMAC answers for addresses which nobody has: what it answers tells nothing.
type proxyMAC struct {
	space    spaceKey
	bridge   string
	answered []netip.Addr // for which it was found to answer
}

// findProxies looks among answers for MACs that answer for too many of the asked addresses to be hosts, and tells of them.
func (a *Agent) findProxies(k spaceKey, bridge string, ask []netip.Addr, answers map[netip.Addr]net.HardwareAddr) {
	by := map[string][]netip.Addr{}
	for addr, mac := range answers {
		by[mac.String()] = append(by[mac.String()], addr)
	}
	for mac, answered := range by {
		if len(answered) < proxyAt || len(answered) <= len(ask)/2 {
			continue
		}
		a.foreign.setProxy(mac, proxyMAC{k, bridge, answered})
		a.findings.Set(proxyARP, mac, fmt.Sprintf("%s on bridge %s answers for many addresses that nobody has: it is proxy ARP, and "+
			"its answers are ignored", mac, bridge),
			"switch proxy ARP off on that router, or set probe to off in the settings: hosts behind it cannot be told from free addresses")
	}
}

// lookAtProxies asks the wire again for what proxies have answered for. One that does not any more is no proxy, and who else has
// those addresses is asked anew.
func (a *Agent) lookAtProxies(ctx context.Context) {
	for mac, p := range a.foreign.allProxies() {
		held := func(addr netip.Addr) bool { return a.journal.Holder(p.space.pool, addr) != nil }
		ask := slices.DeleteFunc(slices.Clone(p.answered), held)
		switch {
		case !a.kernel.HasPort(p.bridge): // nobody is on it, so nothing is given out behind it
		case len(ask) == 0:
			continue // what containers here have tells nothing
		default:
			answers, err := a.kernel.Probe(ctx, p.bridge, ask)
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
		a.foreign.forgetProxy(mac)
		a.findings.Clear(proxyARP, mac)
		a.pools.with(p.space, func(s *allocator.Space) {
			s.Ask(false)
			s.Ask(a.config.Load().Settings.Probe != record.ProbeOff)
		})
		a.foreign.asking.Raise()
	}
}

// forgetProxies is for when the wire is not asked any more.
func (a *Agent) forgetProxies() {
	for mac := range a.foreign.allProxies() {
		a.foreign.forgetProxy(mac)
		a.findings.Clear(proxyARP, mac)
	}
}

func (f *foreign) setProxy(mac string, p proxyMAC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proxies == nil {
		f.proxies = map[string]proxyMAC{}
	}
	f.proxies[mac] = p
}

func (f *foreign) forgetProxy(mac string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.proxies, mac)
}

func (f *foreign) allProxies() map[string]proxyMAC {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.proxies)
}

func (f *foreign) isProxy(mac net.HardwareAddr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.proxies[mac.String()]
	return is
}
