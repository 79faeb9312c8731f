package sim

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
)

func doOutage(c *Cluster, s Step) error { return c.restart(s.For) }

// doLeader has etcd elect anew: the new leader extends all leases.
func doLeader(c *Cluster, _ Step) error { return c.restart(10 * time.Millisecond) }

func (c *Cluster) restart(outage time.Duration) error {
	if !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	if err := c.etcd.Restart(outage); err != nil {
		return err
	}
	c.observe()
	return nil
}

// doAlarm has etcd write nothing for a time, since its quota is used up, but end what is there.
func doAlarm(c *Cluster, s Step) error {
	if !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	if err := c.etcd.SetAlarm(true); err != nil {
		return err
	}
	time.Sleep(s.For)
	return c.etcd.SetAlarm(false)
}

func doDefragment(c *Cluster, _ Step) error {
	if !c.alone("etcd") {
		return errSkipped
	}
	defer c.done("etcd")
	return c.etcd.Defragment()
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
	c.mu.Lock()
	c.saved = maps.Clone(c.damages)
	c.mu.Unlock()
	c.backup, err = c.etcd.Snapshot()
	return err
}

func doRestore(c *Cluster, s Step) error {
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
	for _, key := range slices.Sorted(maps.Keys(c.saved)) { // a person sees that it is damaged again, and knows what it was
		again := c.saved[key]
		repaired := c.slipped(key, again)
		c.watches.Go(func() {
			defer repaired()
			_ = c.putBack(s.For, key, again)
		})
	}
	return nil
}

// doFreeze leads a node to a member of etcd that has hung, and answers reads by what it had before. Releases that do so are
// refused; it is here to show what they would cost.
func (n *node) doFreeze(s Step) error {
	client := n.cluster.etcd.Client()
	if client == nil {
		return errSkipped
	}
	now, err := client.Get(context.Background(), "x")
	if err != nil {
		return err
	}
	return conditioned(etcd.Condition{Frozen: now.Header.Revision})(n.cluster, s)
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
