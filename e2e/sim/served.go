package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
)

// refusedFor bounds for how long ADDs may be refused while an address is free and nothing in the plan disturbs anybody: an address that
// an absent node, or one of a restored etcd, may have waits for the longest right and a tenth, twice at most: who takes it may be the next.
const refusedFor = 2 * (addressLease + addressLease/10)

// served reports a node that does not give a new container an address though one is free.
func (c *Cluster) served() error {
	free, err := c.free()
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		for _, class := range allocator.Classes {
			name := "last/" + n.name
			if class == allocator.Stateful {
				name = "last-" + n.name
			}
			p := c.place(name)
			if p.current != nil && p.current.running() || free[class] < len(c.nodes) {
				continue
			}
			p.lock()
			err := p.add(n)
			p.unlock()
			if err != nil {
				c.count("refused while an address is free: at the end")
				return fmt.Errorf("%d %s addresses are free, and %s refuses: %w", free[class], class, n.name, err)
			}
		}
	}
	return nil
}

// free counts the addresses of the pool that nobody has, of the family that has fewer.
func (c *Cluster) free() (map[allocator.Class]int, error) {
	free := map[allocator.Class]int{}
	return free, c.operate(func(ctx context.Context, o *lease.Operator) error {
		state, err := o.Admin.State(ctx)
		if err != nil {
			return err
		}
		pool, has := state.Config.Pools[poolName], c.held()
		for _, a := range state.Assignments {
			if a.Pool == poolName {
				has[a.Address] = allocator.Stateless
			}
		}
		for _, r := range state.Reservations {
			if r.Pool == poolName {
				has[r.Address] = allocator.Stateful
			}
		}
		used := map[allocator.Family]map[allocator.Class]int{}
		for _, f := range pool.Families() {
			used[f] = map[allocator.Class]int{}
		}
		for address, class := range has {
			used[allocator.FamilyOf(address)][class]++
		}
		hosts := len(c.nodes) + 1 // have addresses of the pool: the machines, and one that is none of Berth's
		for i, f := range pool.Families() {
			stateless := int(pool.StatelessCount(f))
			for class, all := range map[allocator.Class]int{
				allocator.Stateless: stateless - hosts, allocator.Stateful: int(pool.UsableCount(f)) - stateless,
			} {
				if left := all - used[f][class]; i == 0 || left < free[class] {
					free[class] = left
				}
			}
		}
		return nil
	})
}

// held are the addresses of the containers that exist: also of one that is isolated, whose address etcd may say that nobody has.
func (c *Cluster) held() map[netip.Addr]allocator.Class {
	has := map[netip.Addr]allocator.Class{}
	for _, p := range c.ordered() {
		p.lock()
		if p.current != nil && p.member == "" && !p.current.fate().deleted {
			for _, a := range p.current.fate().addresses {
				has[a] = allocator.Stateless
			}
		}
		p.unlock()
	}
	return has
}

// status judges what STATUS has answered to a question of then.
func (j *judge) status(n *node, asked time.Time, err error) {
	session, took := j.cluster.observer.session(n.name), time.Since(asked)
	refusal, refused := errors.AsType[*wire.Error](err)
	switch away := time.Since(session.since) - took; {
	case err == nil && !session.there && !session.since.IsZero() && away > addressLease+time.Second:
		j.cluster.violate(Violation{Rule: "truth", What: fmt.Sprintf("STATUS of %s is good, and it has had no session for %s", n.name, away)})
	case refused && session.there && away > settled && j.cluster.calm.quiet(n.name, took+settled) &&
		j.cluster.observer.settledSince(took+settled) && !j.cluster.unknown.Load():
		j.cluster.violate(Violation{Rule: "truth", What: fmt.Sprintf("STATUS of %s, which nothing disturbs, says %d: %v", n.name,
			refusal.Code, err)})
	}
}
