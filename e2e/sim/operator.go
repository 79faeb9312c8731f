package sim

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
)

func doOutage(c *Cluster, s Step) error {
	if !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	if err := c.etcd.Restart(s.For); err != nil {
		return err
	}
	c.observe()
	return nil
}

func doCompact(c *Cluster, _ Step) error {
	client := c.etcd.Client()
	if client == nil {
		return errSkipped
	}
	now, err := client.Get(context.Background(), "x")
	if err != nil {
		return err
	}
	_, err = client.Compact(context.Background(), now.Header.Revision)
	return err
}

func doBackup(c *Cluster, _ Step) (err error) {
	if !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	c.backup, err = c.etcd.Snapshot()
	return err
}

func doRestore(c *Cluster, _ Step) error {
	if c.backup == "" || !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	if err := c.etcd.Restore(c.backup); err != nil {
		return err
	}
	c.observer.restored()
	c.observe()
	for _, p := range c.ordered() { // a reservation that is younger than the backup, of a member that does not run, is lost
		p.doubtful.Store(true)
	}
	return nil
}

// alone takes something that one step has at a time.
func (c *Cluster) alone(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[what] {
		return false
	}
	c.taken[what] = true
	return true
}

func (c *Cluster) done(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, what)
}

// some is an address of the pool.
func some(choice int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.42.0.%d", 2+choice%250)) }

func doExclude(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		p.Exclude = append(p.Exclude, allocator.Range{From: some(s.Choice), To: some(s.Choice)})
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
		p.Gateways = []netip.Addr{some(s.Choice)}
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
