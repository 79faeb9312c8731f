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
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// Behind an uplink there may be hosts whose addresses nobody gave. So a part of such a pool is asked for on the wire before
// its first use, in the background, a part at a time.

const (
	AskedAtOnce = 64          // addresses of a part
	askAgain    = time.Second // after the wire could not be asked
)

// A Detector finds out who on the wire has addresses that nobody gave (address conflict detection, RFC 5227), and keeps what is
// known of the networks behind uplinks.
type Detector struct {
	*node.Node
	addresses *addresses.Manager

	mu      lockorder.Subject
	bridges map[string]string   // by pool: the bridge with the uplink
	proxies map[string]proxyMAC // by MAC: those that answer for whatever is asked
}

// New makes a node's detector.
func New(m *addresses.Manager) *Detector {
	d := &Detector{Node: m.Node, addresses: m}
	m.On(node.Hooks{ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { d.applyAsking() }}})
	return d
}

// Run asks the wire ahead of need, until ctx ends.
func (d *Detector) Run(ctx context.Context) error { return d.askAhead(ctx) }

// BehindUplink says that a pool's containers are on a bridge that has an uplink.
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

// FindUplinks finds the pools behind uplinks by what the journal says of running containers.
func (d *Detector) FindUplinks() {
	for _, e := range d.Journal.Entries() {
		if e.Wiring.Uplink != "" {
			d.BehindUplink(e.Pool, e.Wiring.Bridge)
		}
	}
}

// applyAsking lets the allocator know for which pools the wire is to be asked.
func (d *Detector) applyAsking() {
	on := d.Config().Settings.Probe != record.ProbeOff
	for pool := range d.known() {
		for _, f := range []allocator.Family{allocator.V4, allocator.V6} {
			d.addresses.Pools.With(addresses.SpaceKey{Pool: pool, Family: f}, func(s *allocator.Space) { s.Ask(on) })
		}
	}
	if !on {
		d.ForgetProxies()
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

// askAhead asks for what is about to be given out, ahead of need.
func (d *Detector) askAhead(ctx context.Context) error {
	tick := time.NewTicker(10 * askAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.addresses.Gained:
		case <-tick.C: // a quarantine may be over, and a proxy gone
			d.RecheckProxies(ctx)
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

// askPool asks for all that is to be asked for, a part at a time.
func (d *Detector) askPool(ctx context.Context, k addresses.SpaceKey, bridge string) error {
	for ctx.Err() == nil {
		var ask []netip.Addr
		d.addresses.Pools.With(k, func(s *allocator.Space) { s.Settle(wire.Boottime()); ask = s.Unasked(AskedAtOnce) })
		if len(ask) == 0 {
			return nil
		}
		if _, err := d.AskWire(ctx, k, bridge, ask); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// AskWire asks for addresses, keeps those that are free here and that somebody on the wire has, and returns all that somebody
// has.
func (d *Detector) AskWire(ctx context.Context, k addresses.SpaceKey, bridge string,
	ask []netip.Addr) (occupied map[netip.Addr]bool, err error) {
	answers, err := d.Kernel.Probe(ctx, bridge, ask)
	if err != nil {
		return nil, err
	}
	occupied = map[netip.Addr]bool{}
	d.FindProxies(k, bridge, ask, answers)
	for addr, mac := range answers {
		if !d.IsProxy(mac) {
			occupied[addr] = true
			d.Log.Warn("an address that nobody gave is in use on the wire; it is not given to a container: exclude it, if it is a host's for good",
				zap.String("pool", k.Pool), zap.Stringer("address", addr), zap.Stringer("mac", mac))
		}
	}
	d.addresses.Pools.With(k, func(s *allocator.Space) {
		for _, addr := range ask {
			if occupied[addr] {
				s.Occupied(addr, wire.Boottime(), SuspectFor)
			} else {
				s.Asked(addr)
			}
		}
	})
	return occupied, nil
}

// SuspectFor is how long nobody is given an address that somebody on the wire turned out to have.
const SuspectFor = time.Minute
