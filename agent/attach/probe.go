package attach

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/conflict"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// chooseFor chooses a stateless add's addresses. It probes on the wire an address that was another node's and has not been in use
// here since, because that node's container may still run if only its etcd is unreachable; and an address behind an uplink that
// was not probed ahead of need. In the IPAM role the wire is unknown, and a routed pool has none.
func (a *Attacher) chooseFor(ctx context.Context, add *insertion) (err error) {
	if add.Uplink != "" && add.Role != wire.IPAM && !add.pool.Layer3() {
		a.Detector.BehindUplink(add.pool.Name, cmp.Or(add.Bridge, defaultBridge))
	}
	for {
		if add.grants, err = a.Chooser.Choose(ctx, add.pool, add.app, add.asked); err != nil {
			return err
		}
		occupied, err := a.occupied(ctx, add)
		if err != nil {
			return err
		}
		if len(occupied) == 0 {
			return nil
		}
		for _, g := range add.grants {
			a.Addresses.Pools.On(add.pool.Name, g.Address, func(s *allocator.Space) {
				if occupied[g.Address] {
					s.Suspect(g.Address, a.Clock.Boot(), conflict.SuspectFor)
				} else {
					s.Undo(g.Address)
				}
			})
		}
		add.grants = nil
	}
}

// occupied are those of an add's addresses that are in use on the wire.
func (a *Attacher) occupied(ctx context.Context, add *insertion) (map[netip.Addr]bool, error) {
	var ask []netip.Addr
	e := &journal.Entry{Attachment: add.attachment}
	for _, g := range add.grants {
		e.Addresses = append(e.Addresses, g.Address)
		if g.Probe {
			ask = append(ask, g.Address)
		}
	}
	if len(ask) == 0 || add.Role == wire.IPAM || add.pool.Layer3() {
		return nil, nil
	}
	e.Pool, e.Wiring = add.pool.Name, wiring(add, e)
	if _, err := a.Updater.Host.Ensure(e, add.pool); err != nil {
		return nil, bridgeError(err)
	}
	occupied := map[netip.Addr]bool{}
	for _, f := range add.pool.Families() {
		k := addresses.SpaceKey{Pool: add.pool.Name, Family: f}
		part := slices.DeleteFunc(slices.Clone(ask), func(addr netip.Addr) bool { return allocator.FamilyOf(addr) != f })
		if len(part) == 0 {
			continue
		}
		// Probing further addresses takes no more time, and shows whether one MAC answers for all.
		a.Addresses.Pools.With(k, func(s *allocator.Space) { part = append(part, s.Unasked(conflict.AskedAtOnce-len(part))...) })
		answered, err := a.Detector.AskWire(ctx, k, e.Wiring.Bridge, part)
		if err != nil {
			return nil, wire.Errorf(wire.CodeTryAgain, "cannot ask the wire whether somebody has the address: %w", err)
		}
		for _, g := range add.grants {
			if answered[g.Address] {
				occupied[g.Address] = true
			}
		}
	}
	return occupied, nil
}
