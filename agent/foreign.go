package agent

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// Behind an uplink there may be hosts whose addresses nobody gave. So a part of such a pool is asked for on the wire before
// its first use, in the background, a part at a time.

const (
	askedAtOnce = 64          // addresses of a part
	askAgain    = time.Second // after the wire could not be asked
)

// A detector finds out who on the wire has addresses that nobody gave (address conflict detection, RFC 5227), and keeps what is
// known of the networks behind uplinks.
type detector struct {
	*node.Node
	addresses *manager

	mu      sync.Mutex
	bridges map[string]string   // by pool: the bridge with the uplink
	proxies map[string]proxyMAC // by MAC: those that answer for whatever is asked
}

func newDetector(m *manager) *detector {
	d := &detector{Node: m.Node, addresses: m}
	m.On(node.Hooks{ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { d.applyAsking() }}})
	return d
}

// Run asks the wire ahead of need, until ctx ends.
func (a *detector) Run(ctx context.Context) error { return a.askAhead(ctx) }

// behindUplink says that a pool's containers are on a bridge that has an uplink.
func (a *detector) behindUplink(pool, bridge string) {
	a.mu.Lock()
	known := a.bridges[pool] == bridge
	if a.bridges == nil {
		a.bridges = map[string]string{}
	}
	a.bridges[pool] = bridge
	a.mu.Unlock()
	if !known {
		a.applyAsking()
	}
}

// knowUplinks finds the pools behind uplinks by what the journal says of running containers.
func (a *detector) knowUplinks() {
	for _, e := range a.Journal.Entries() {
		if e.Wiring.Uplink != "" {
			a.behindUplink(e.Pool, e.Wiring.Bridge)
		}
	}
}

// applyAsking lets the allocator know for which pools the wire is to be asked.
func (a *detector) applyAsking() {
	on := a.Config().Settings.Probe != record.ProbeOff
	for pool := range a.known() {
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			a.addresses.pools.with(spaceKey{pool, f}, func(s *allocator.Space) { s.Ask(on) })
		}
	}
	if !on {
		a.forgetProxies()
	}
	a.addresses.gained.Raise()
}

func (a *detector) known() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]string{}
	for pool, bridge := range a.bridges {
		all[pool] = bridge
	}
	return all
}

// askAhead asks for what is about to be given out, ahead of need.
func (a *detector) askAhead(ctx context.Context) error {
	tick := time.NewTicker(10 * askAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.addresses.gained:
		case <-tick.C: // a quarantine may be over, and a proxy gone
			a.lookAtProxies(ctx)
		}
		for pool, bridge := range a.known() {
			for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
				if err := a.askPool(ctx, spaceKey{pool, f}, bridge); err != nil && ctx.Err() == nil {
					a.Log.Debug("the wire cannot be asked who has addresses; it is tried again", zap.String("bridge", bridge), zap.Error(err))
					time.AfterFunc(askAgain, a.addresses.gained.Raise)
				}
			}
		}
	}
}

// askPool asks for all that is to be asked for, a part at a time.
func (a *detector) askPool(ctx context.Context, k spaceKey, bridge string) error {
	for ctx.Err() == nil {
		var ask []netip.Addr
		a.addresses.pools.with(k, func(s *allocator.Space) { s.Settle(wire.Boottime()); ask = s.Unasked(askedAtOnce) })
		if len(ask) == 0 {
			return nil
		}
		if _, err := a.askWire(ctx, k, bridge, ask); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// askWire asks for addresses, keeps those that are free here and that somebody on the wire has, and returns all that somebody
// has.
func (a *detector) askWire(ctx context.Context, k spaceKey, bridge string, ask []netip.Addr) (occupied map[netip.Addr]bool, err error) {
	answers, err := a.Kernel.Probe(ctx, bridge, ask)
	if err != nil {
		return nil, err
	}
	occupied = map[netip.Addr]bool{}
	a.findProxies(k, bridge, ask, answers)
	for addr, mac := range answers {
		if !a.isProxy(mac) {
			occupied[addr] = true
			a.Log.Warn("an address that nobody gave is in use on the wire; it is not given to a container: exclude it, if it is a host's for good",
				zap.String("pool", k.pool), zap.Stringer("address", addr), zap.Stringer("mac", mac))
		}
	}
	a.addresses.pools.with(k, func(s *allocator.Space) {
		for _, addr := range ask {
			if occupied[addr] {
				s.Occupied(addr, wire.Boottime(), suspectFor)
			} else {
				s.Asked(addr)
			}
		}
	})
	return occupied, nil
}

// suspectFor is how long nobody is given an address that somebody on the wire turned out to have.
const suspectFor = time.Minute
