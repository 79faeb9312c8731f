package agent

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
)

// Behind an uplink there may be hosts whose addresses nobody gave. So a part of such a pool is asked for on the wire before
// its first use, in the background, a part at a time.

const (
	askedAtOnce = 64          // addresses of a part
	askAgain    = time.Second // after the wire could not be asked
)

// foreign is what is known of the networks behind uplinks.
type foreign struct {
	asking task.Signal // there may be something to ask for

	mu      sync.Mutex
	bridges map[string]string   // by pool: the bridge with the uplink
	proxies map[string]proxyMAC // by MAC: those that answer for whatever is asked
}

// behindUplink says that a pool's containers are on a bridge that has an uplink.
func (a *Agent) behindUplink(pool, bridge string) {
	f := &a.foreign
	f.mu.Lock()
	known := f.bridges[pool] == bridge
	if f.bridges == nil {
		f.bridges = map[string]string{}
	}
	f.bridges[pool] = bridge
	f.mu.Unlock()
	if !known {
		a.applyAsking()
	}
}

// knowUplinks finds the pools behind uplinks by what the journal says of running containers.
func (a *Agent) knowUplinks() {
	for _, e := range a.journal.Entries() {
		if e.Wiring.Uplink != "" {
			a.behindUplink(e.Pool, e.Wiring.Bridge)
		}
	}
}

// applyAsking lets the allocator know for which pools the wire is to be asked.
func (a *Agent) applyAsking() {
	on := a.config.Load().Settings.Probe != record.ProbeOff
	for pool := range a.foreign.known() {
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			a.pools.with(spaceKey{pool, f}, func(s *allocator.Space) { s.Ask(on) })
		}
	}
	if !on {
		a.forgetProxies()
	}
	a.foreign.asking.Raise()
}

func (f *foreign) known() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]string{}
	for pool, bridge := range f.bridges {
		all[pool] = bridge
	}
	return all
}

// askAhead asks for what is about to be given out, ahead of need.
func (a *Agent) askAhead(ctx context.Context) error {
	tick := time.NewTicker(10 * askAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.foreign.asking:
		case <-tick.C: // a quarantine may be over, and a proxy gone
			a.lookAtProxies(ctx)
		}
		for pool, bridge := range a.foreign.known() {
			for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
				if err := a.askPool(ctx, spaceKey{pool, f}, bridge); err != nil && ctx.Err() == nil {
					a.Log.Debug("the wire cannot be asked who has addresses; it is tried again", zap.String("bridge", bridge), zap.Error(err))
					time.AfterFunc(askAgain, a.foreign.asking.Raise)
				}
			}
		}
	}
}

// askPool asks for all that is to be asked for, a part at a time.
func (a *Agent) askPool(ctx context.Context, k spaceKey, bridge string) error {
	for ctx.Err() == nil {
		var ask []netip.Addr
		a.pools.with(k, func(s *allocator.Space) { s.Settle(wire.Boottime()); ask = s.Unasked(askedAtOnce) })
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
func (a *Agent) askWire(ctx context.Context, k spaceKey, bridge string, ask []netip.Addr) (occupied map[netip.Addr]bool, err error) {
	answers, err := a.kernel.Probe(ctx, bridge, ask)
	if err != nil {
		return nil, err
	}
	occupied = map[netip.Addr]bool{}
	a.findProxies(k, bridge, ask, answers)
	for addr, mac := range answers {
		if !a.foreign.isProxy(mac) {
			occupied[addr] = true
			a.Log.Warn("an address that nobody gave is in use on the wire; it is not given to a container: exclude it, if it is a host's for good",
				zap.String("pool", k.pool), zap.Stringer("address", addr), zap.Stringer("mac", mac))
		}
	}
	a.pools.with(k, func(s *allocator.Space) {
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
