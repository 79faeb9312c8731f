package conflict

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// Behind an uplink there may be hosts with addresses that Berth has not assigned. So the addresses of such a pool are probed on
// the wire before their first use, in the background, a part at a time.

const (
	AskedAtOnce = 64          // addresses of a part
	askAgain    = time.Second // after a probe that has failed
)

// A Detector probes the wire for addresses that hosts have without an assignment (address conflict detection, RFC 5227), and
// knows the networks behind uplinks.
type Detector struct {
	*node.Node
	addresses *addresses.Manager

	mu      lockorder.Subject
	bridges map[string]string // by pool: the bridge with the uplink

	Proxies proxies
}

// New makes a node's detector.
func New(m *addresses.Manager) *Detector {
	d := &Detector{Node: m.Node, addresses: m, Proxies: proxies{Node: m.Node, addresses: m}}
	m.On(node.Hooks{ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { d.applyAsking() }}})
	return d
}

// BehindUplink says that a pool's containers are on a bridge with an uplink.
func (d *Detector) BehindUplink(pool, bridge string) {
	d.mu.Lock()
	known := d.bridges[pool] == bridge
	if d.bridges == nil {
		d.bridges = map[string]string{}
	}
	d.bridges[pool] = bridge
	d.mu.Unlock()
	if !known {
		d.applyAsking()
	}
}

// FindUplinks finds the pools behind uplinks by the journal's running containers.
func (d *Detector) FindUplinks() {
	for _, e := range d.Journal.Entries() {
		if e.Wiring.Uplink != "" {
			d.BehindUplink(e.Pool, e.Wiring.Bridge)
		}
	}
}

// applyAsking sets in the allocator which pools need probes.
func (d *Detector) applyAsking() {
	on := d.Config().Settings.Probe != record.ProbeOff
	for pool := range d.known() {
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			d.addresses.Pools.With(addresses.SpaceKey{Pool: pool, Family: f}, func(s *allocator.Space) { s.Ask(on) })
		}
	}
	if !on {
		d.Proxies.forgetAll()
	}
	d.addresses.Gained.Raise()
}

func (d *Detector) known() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]string{}
	for pool, bridge := range d.bridges {
		all[pool] = bridge
	}
	return all
}

// Run probes ahead of need what is about to be allocated, until ctx ends.
func (d *Detector) Run(ctx context.Context) error {
	tick := time.NewTicker(10 * askAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.addresses.Gained:
		case <-tick.C: // a quarantine may have ended, or a proxy be gone
			d.Proxies.Recheck(ctx)
		}
		for pool, bridge := range d.known() {
			for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
				if err := d.askPool(ctx, addresses.SpaceKey{Pool: pool, Family: f}, bridge); err != nil && ctx.Err() == nil {
					d.Log.Debug("the wire cannot be asked who has addresses; it is tried again", zap.String("bridge", bridge), zap.Error(err))
					time.AfterFunc(askAgain, d.addresses.Gained.Raise)
				}
			}
		}
	}
}

// askPool probes all that is unprobed in a space, a part at a time.
func (d *Detector) askPool(ctx context.Context, k addresses.SpaceKey, bridge string) error {
	for ctx.Err() == nil {
		var ask []netip.Addr
		d.addresses.Pools.With(k, func(s *allocator.Space) { s.Settle(d.Clock.Boot()); ask = s.Unasked(AskedAtOnce) })
		if len(ask) == 0 {
			return nil
		}
		if _, err := d.AskWire(ctx, k, bridge, ask); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// AskWire probes addresses, suspends those that are free here and in use on the wire, and returns all that are in use.
func (d *Detector) AskWire(ctx context.Context, k addresses.SpaceKey, bridge string,
	ask []netip.Addr) (occupied map[netip.Addr]bool, err error) {
	answers, err := d.Kernel().Probe(ctx, bridge, ask)
	if err != nil {
		return nil, err
	}
	occupied = map[netip.Addr]bool{}
	d.Proxies.find(k, bridge, ask, answers)
	for addr, mac := range answers {
		if !d.Proxies.has(mac) {
			occupied[addr] = true
			d.Log.Warn("an address that nobody gave is in use on the wire; it is not given to a container: exclude it, if it is a host's for good",
				zap.String("pool", k.Pool), zap.Stringer("address", addr), zap.Stringer("mac", mac))
		}
	}
	d.addresses.Pools.With(k, func(s *allocator.Space) {
		for _, addr := range ask {
			if occupied[addr] {
				s.Occupied(addr, d.Clock.Boot(), SuspectFor)
			} else {
				s.Asked(addr)
			}
		}
	})
	return occupied, nil
}

// SuspectFor is how long an address is not allocated after it was found in use on the wire.
const SuspectFor = time.Minute
