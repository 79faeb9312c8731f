package transfers

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// An Exchange moves addresses between nodes: it publishes what this node's ADDs wait for, donates to other nodes that wait, and
// returns what is not needed.
type Exchange struct {
	*node.Node
	addresses *addresses.Manager
	backlog   *backlog.Backlog

	demands  demands
	draining task.Signal // a pool is drained
}

// New makes a node's exchange.
func New(m *addresses.Manager, b *backlog.Backlog) *Exchange {
	e := &Exchange{Node: m.Node, addresses: m, backlog: b, draining: task.NewSignal()}
	m.OfMachines = e.demands.ofMachines
	m.On(node.Hooks{ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { e.draining.Raise() }}})
	return e
}

// afterTransfer is how long a node waits after its demand has ended before it demands again: the transfer is in flight.
const afterTransfer = 20 * time.Millisecond

// demands is the watch's view of all nodes' demands, including this one's.
type demands struct {
	mu   lockorder.Subject
	all  map[demandKey]record.Demand
	seen int64
}

type demandKey struct{ pool, node string }

// apply applies an update of the watch, and reports whether this node's own demands have changed.
func (d *demands) apply(u kv.Update[record.Demand], node string) (own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen = u.Revision; u.Full || d.all == nil {
		d.all, own = map[demandKey]record.Demand{}, true
	}
	for _, each := range u.Set {
		d.all[demandKey{each.Pool, each.Node}] = each
		own = own || each.Node == node
	}
	for _, each := range u.Gone {
		delete(d.all, demandKey{each.Pool, each.Node})
		own = own || each.Node == node
	}
	return own
}

// put adds a demand of this node, unless the watch has passed it already.
func (d *demands) put(demand record.Demand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if demand.Revision > d.seen && d.all != nil {
		d.all[demandKey{demand.Pool, demand.Node}] = demand
	}
}

// drop removes a demand that is known to be met, before the watch does.
func (d *demands) drop(demand record.Demand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := demandKey{demand.Pool, demand.Node}
	if d.all[k].Revision == demand.Revision {
		delete(d.all, k)
	}
}

// ofMachines are the addresses within a part that nodes demand since their machines have them.
func (d *demands) ofMachines(pool string, part netip.Prefix) (all []netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, each := range d.all {
		for _, a := range each.Machine {
			if k.pool == pool && part.Contains(a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// split returns the demands of a node by pool, and all the others.
func (d *demands) split(node string) (own map[string]record.Demand, others []record.Demand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own = map[string]record.Demand{}
	for k, each := range d.all {
		if k.node == node {
			own[k.pool] = each
		} else {
			others = append(others, each)
		}
	}
	return own, others
}

// followDemands keeps the view of demands.
func (e *Exchange) followDemands(ctx context.Context) error {
	return e.Store.Blocks.FollowDemands(ctx, func(u kv.Update[record.Demand]) {
		node.Report(e.Node, u)
		if e.demands.apply(u, e.Name) {
			time.AfterFunc(afterTransfer, e.addresses.Waiters.Signal.Raise)
		}
		for _, d := range u.Set {
			for _, a := range d.Machine {
				e.addresses.RestMachine(d.Pool, a)
			}
		}
		if len(u.Set) > 0 {
			e.addresses.ToGive.Raise()
		}
	})
}

// demandAll keeps demands in etcd as long as ADDs wait here.
func (e *Exchange) demandAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.addresses.Waiters.Signal:
		}
		if err := e.demandOnce(ctx); err != nil {
			e.Log.Debug("cannot publish this node's demands yet", zap.Error(err))
			task.Pause(ctx, 200*time.Millisecond)
			e.addresses.Waiters.Signal.Raise()
		}
	}
}

func (e *Exchange) demandOnce(ctx context.Context) error {
	own, _ := e.demands.split(e.Name)
	wanted := map[string]record.Demand{}
	for k, n := range e.addresses.Waiters.Counts() {
		d := wanted[k.Pool]
		if d.Pool = k.Pool; k.Family == allocator.V4 {
			d.V4 = n
		} else {
			d.V6 = n
		}
		wanted[k.Pool] = d
	}
	e.addresses.Requested.Into(wanted)
	if len(own)+len(wanted) == 0 {
		return nil
	}
	session, err := e.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	for pool, d := range wanted {
		if there, ok := own[pool]; ok && asksFor(there, d) {
			continue // rewriting it would only disturb a transfer in flight
		}
		if d, err = block.Demand(ctx, session, d); err != nil {
			return err
		}
		e.demands.put(d)
	}
	for pool, d := range own {
		if _, ok := wanted[pool]; ok {
			continue
		}
		if err := block.Withdraw(ctx, session, pool); err != nil {
			return err
		}
		e.demands.drop(d)
	}
	return nil
}

// asksFor reports whether a demand includes all that another asks for.
func asksFor(there, d record.Demand) bool {
	within := func(some, all []netip.Addr) bool {
		return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(all, a) })
	}
	return (d.V4 == 0 || there.V4 > 0) && (d.V6 == 0 || there.V6 > 0) && within(d.Addresses, there.Addresses) &&
		within(d.Machine, there.Machine)
}
