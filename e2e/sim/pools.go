package sim

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// extra is a pool that comes and goes. The apps below have their addresses of it.
const extra = "extra"

var extraApps = []string{"log", "cache"}

// poolOf is the pool of an app.
func poolOf(app string) string {
	if slices.Contains(extraApps, app) {
		return extra
	}
	return poolName
}

// newPool is a pool as it is at first: of as many addresses of each family.
func newPool(name string, dual bool) allocator.Pool {
	p := allocator.Pool{
		Name: name, CIDRs: prefixes("10.42.0.0/25", "fd42::/121"), Gateways: addresses("10.42.0.1", "fd42::1"),
		Stateful: prefixes("10.42.0.0/27", "fd42::/123"), BlockSize: allocator.BlockSize{V4: 29, V6: 125},
	}
	if name == extra {
		p.CIDRs, p.Gateways = prefixes("10.43.0.0/27", "fd43::/123"), addresses("10.43.0.1", "fd43::1")
		p.Stateful, p.BlockSize = prefixes("10.43.0.0/29", "fd43::/125"), allocator.BlockSize{V4: 30, V6: 126}
	}
	if !dual {
		p.CIDRs, p.Gateways, p.Stateful, p.BlockSize.V6 = p.CIDRs[:1], p.Gateways[:1], p.Stateful[:1], 0
	}
	return p.WithDefaults()
}

func prefixes(words ...string) (all []netip.Prefix) {
	for _, w := range words {
		all = append(all, netip.MustParsePrefix(w))
	}
	return all
}

func addresses(words ...string) (all []netip.Addr) {
	for _, w := range words {
		all = append(all, netip.MustParseAddr(w))
	}
	return all
}

// doAddPool makes the pool that comes and goes, or takes it back into use.
func doAddPool(c *Cluster, _ Step) error {
	return c.change(func(next *config.Config) {
		p, there := next.Pools[extra]
		if !there {
			p = newPool(extra, c.options.Dual)
		}
		p.Draining = false
		next.Pools[extra] = p
	})
}

// doDrain marks the pool as one to be removed.
func doDrain(c *Cluster, _ Step) error {
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		base, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		if _, there := base.Pools[extra]; !there {
			return errSkipped
		}
		_, err = o.Editor.Drain(ctx, base, extra, config.Note{Who: "operator"})
		return err
	})
}

// doRetire drains the pool, ends all that uses it, and removes it.
func doRetire(c *Cluster, s Step) error {
	if err := doDrain(c, s); err != nil {
		return err
	}
	for _, p := range c.ordered() {
		if p.pool == extra {
			p.lock()
			p.end()
			err := p.doRelease(s)
			p.unlock()
			if err != nil && !errors.Is(err, errSkipped) && !errors.Is(err, reservation.ErrNotReserved) {
				return err
			}
		}
	}
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		if _, err := o.Editor.WaitDrained(ctx, extra, nil); err != nil {
			return err
		}
		base, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		_, err = o.Editor.RemovePool(ctx, base, extra, config.Note{Who: "operator"})
		return err
	})
}

// end deletes all containers of the place.
func (p *place) end() {
	for p.cluster.going() && p.doDelete(Step{}) == nil {
	}
}

// doRange gives the pool a block more for members, or takes one from them: some of it nodes or members have.
func doRange(c *Cluster, s Step) error {
	first := c.nth(s.Choice%16*8, s.Choice/16%2 == 1)
	one := netip.PrefixFrom(first, first.BitLen()-3)
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		var ranges []netip.Prefix
		for _, r := range p.Stateful {
			ranges = append(ranges, allocator.Subtract(r, []netip.Prefix{one})...)
		}
		if !p.InStateful(one.Addr()) {
			ranges = append(ranges, one)
		}
		p.Stateful = ranges
		next.Pools[poolName] = p
	})
}

// doFencing changes the mode of fencing.
func doFencing(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		next.Settings.Fencing = []string{record.FencingEvidence, record.FencingStrict}[s.Choice%2]
	})
}

// doRights makes the rights shorter or longer.
func doRights(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		next.Settings.Session = allocator.Duration(min(longestSession, session+time.Duration(s.Choice%3)*time.Second))
		next.Settings.AddressLease = allocator.Duration(addressLease / time.Duration(1+s.Choice%2))
	})
}

// doRollback brings back the configuration of some changes ago.
func doRollback(c *Cluster, s Step) error {
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		base, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		then, err := o.Editor.At(ctx, max(1, base.Changes-int64(s.Choice%8)))
		if err != nil {
			return err
		}
		_, _, err = o.Editor.Restore(ctx, base, then, config.Note{Who: "operator"})
		return err
	})
}

// doReserve gives a member its address before it runs.
func (p *place) doReserve(Step) error {
	if p.member == "" {
		return errSkipped
	}
	return p.cluster.operate(func(ctx context.Context, o *lease.Operator) error {
		now, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		pool, there := now.Pools[p.pool]
		if !there || pool.Draining {
			return errSkipped
		}
		reserved, err := o.Reservations.ReserveFor(ctx, pool, now.PoolRevisions[p.pool], p.identity(), nil)
		if err != nil {
			return err
		}
		var given []netip.Addr
		for _, r := range reserved {
			given = append(given, r.Address)
		}
		p.cluster.judge.keeps(p, given, "berthctl reserve")
		return nil
	})
}

func (p *place) identity() allocator.Identity {
	return allocator.Identity{Namespace: "ns", App: p.app, Member: p.member, Network: network, Interface: iface}
}
