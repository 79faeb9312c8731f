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
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/record"
)

// proxyARP is the kind of the finding that a host on the wire answers for addresses that no host has.
const proxyARP = "proxy-arp"

// proxyAt is for how many unassigned addresses one MAC answers before it counts as proxy ARP.
const proxyAt = 8

// A proxyMAC answers for addresses that no host has. Its answers are ignored.
type proxyMAC struct {
	space    addresses.SpaceKey
	bridge   string
	answered []netip.Addr // the addresses that it has answered for
}

// proxies are the MACs on the wire that count as proxy ARP.
type proxies struct {
	*node.Node
	addresses *addresses.Manager

	mu   lockorder.Subject
	macs map[string]proxyMAC
}

// find finds the MACs that answer for more of the probed addresses than a host can have, and reports them.
func (p *proxies) find(k addresses.SpaceKey, bridge string, ask []netip.Addr, answers map[netip.Addr]net.HardwareAddr) {
	by := map[string][]netip.Addr{}
	for addr, mac := range answers {
		by[mac.String()] = append(by[mac.String()], addr)
	}
	for mac, answered := range by {
		if len(answered) < proxyAt || len(answered) <= len(ask)/2 {
			continue
		}
		p.set(mac, proxyMAC{k, bridge, answered})
		p.Findings.Set(proxyARP, mac, fmt.Sprintf("%s on bridge %s answers for many addresses that nobody has: it is proxy ARP, and "+
			"its answers are ignored", mac, bridge),
			"switch proxy ARP off on that router, or set probe to off in the settings: hosts behind it cannot be told from free addresses")
	}
}

// Recheck probes again what proxies have answered for. A MAC that has stopped is no proxy any more, and its addresses are
// probed anew.
func (p *proxies) Recheck(ctx context.Context) {
	for mac, one := range p.all() {
		held := func(addr netip.Addr) bool { return p.Journal.Holder(one.space.Pool, addr) != nil }
		ask := slices.DeleteFunc(slices.Clone(one.answered), held)
		switch {
		case !p.Kernel().HasPort(one.bridge): // no container is on it
		case len(ask) == 0:
			continue // containers of this node do not count
		default:
			answers, err := p.Kernel().Probe(ctx, one.bridge, ask)
			if err != nil {
				p.Log.Debug("the wire cannot be asked whether somebody still answers for all; it is tried again",
					zap.String("bridge", one.bridge), zap.Error(err))
				continue
			}
			maps.DeleteFunc(answers, func(_ netip.Addr, by net.HardwareAddr) bool { return by.String() != mac })
			if len(answers) > len(ask)/2 {
				continue
			}
		}
		p.forget(mac)
		p.Findings.Clear(proxyARP, mac)
		p.addresses.Pools.With(one.space, func(s *allocator.Space) {
			s.Ask(false)
			s.Ask(p.Config().Settings.Probe != record.ProbeOff)
		})
		p.addresses.Gained.Raise()
	}
}

// forgetAll drops all proxies, when probing is switched off.
func (p *proxies) forgetAll() {
	for mac := range p.all() {
		p.forget(mac)
		p.Findings.Clear(proxyARP, mac)
	}
}

func (p *proxies) set(mac string, one proxyMAC) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.macs == nil {
		p.macs = map[string]proxyMAC{}
	}
	p.macs[mac] = one
}

func (p *proxies) forget(mac string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.macs, mac)
}

func (p *proxies) all() map[string]proxyMAC {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.macs)
}

// has reports whether a MAC is known as proxy ARP.
func (p *proxies) has(mac net.HardwareAddr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, is := p.macs[mac.String()]
	return is
}
