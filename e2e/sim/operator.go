package sim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
)

// some is an address of the pool.
func (c *Cluster) some(choice int) netip.Addr { return c.nth(2+choice%124, choice%2 == 1) }

// nth is the nth address of the pool, of IPv6 if that is asked for and there is any.
func (c *Cluster) nth(n int, six bool) netip.Addr {
	if six && c.options.Dual {
		return netip.MustParseAddr(fmt.Sprintf("fd42::%x", n))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.42.0.%d", n))
}

func doExclude(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		p.Exclude = append(p.Exclude, allocator.Range{From: c.some(s.Choice), To: c.some(s.Choice)})
		next.Pools[poolName] = p
	})
}

func doInclude(c *Cluster, _ Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		p.Exclude = nil
		next.Pools[poolName] = p
	})
}

func doMTU(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		p.MTU = 1400 + s.Choice%100
		next.Pools[poolName] = p
	})
}

// doRevoke deletes a node's session key, as a person might, or an etcd that revokes a lease in error.
func (n *node) doRevoke(Step) error {
	client := n.cluster.etcd.Client()
	if client == nil {
		return errSkipped
	}
	_, err := client.Delete(context.Background(), keys.Session(n.name))
	return err
}

func doGateway(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		to := c.some(s.Choice)
		others := slices.DeleteFunc(slices.Clone(p.Gateways), func(a netip.Addr) bool { return a.Is4() == to.Is4() })
		p.Gateways = append(others, to)
		next.Pools[poolName] = p
	})
}

// doRelease ends the reservation of a member that does not run.
func (p *place) doRelease(Step) error {
	if p.member == "" || p.kept == nil || p.current != nil && p.current.there() {
		return errSkipped
	}
	p.doubtful.Store(true) // also where the answer is lost
	return p.cluster.operate(func(ctx context.Context, o *lease.Operator) error {
		_, err := o.Reservations.End(ctx, p.identity(), false)
		return err
	})
}
