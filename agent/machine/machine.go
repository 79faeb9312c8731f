package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/transfers"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

const (
	machineEvery = 10 * time.Second // how often the host's own addresses are compared, besides at each change
	machineGone  = 10 * time.Second // how long an address stays the machine's after it was removed
)

// machineHeld is the kind of the finding that an address of this machine is held by another.
const machineHeld = "machine-address-held"

// A Keeper tracks the host's own addresses. Only the goroutine of Run uses it.
type Keeper struct {
	*node.Node
	addresses *addresses.Manager
	claims    *addresses.Claims
	exchange  *transfers.Exchange

	Look task.Signal
	seen map[ipam.Address]bool      // the host's addresses in pools at the last comparison
	gone map[ipam.Address]time.Time // since when the host lacks an address that etcd records as its own
}

// New makes the keeper of a machine's own addresses.
func New(m *addresses.Manager, c *addresses.Claims, e *transfers.Exchange) *Keeper {
	own := &Keeper{Node: m.Node, addresses: m, claims: c, exchange: e, Look: task.NewSignal()}
	m.On(node.Hooks{ConfigChanged: []func(former, now *config.Config){func(_, _ *config.Config) { own.Look.Raise() }}})
	return own
}

// Begin reads the host's own addresses, until it has or ctx ends. Nothing is allocated before.
func (k *Keeper) Begin(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; tries++ {
		_, err := k.ReadHost()
		if err == nil {
			return
		}
		k.SetNotReady("cannot read this host's own addresses: %v", err)
		if tries == 0 {
			k.Log.Warn("this node does not join the cluster yet: see what keeps the kernel from listing addresses (ip address)", zap.Error(err))
		}
		task.Pause(ctx, time.Second)
	}
}

// Run keeps the machine's own addresses from being allocated, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error { return k.keepMachine(ctx) }

// keepMachine makes each address of this host that lies in a pool a part of its block whose owner is the machine. Another node
// that may allocate it is asked for it. A container that holds it is a finding until it is gone.
func (k *Keeper) keepMachine(ctx context.Context) error {
	tick := time.NewTicker(machineEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.Look:
		case <-tick.C:
		}
		if err := k.compareMachine(ctx); err != nil && ctx.Err() == nil {
			k.Log.Debug("the host's own addresses are not all kept yet; it is tried again", zap.Error(err))
			task.Pause(ctx, time.Second)
			k.Look.Raise()
		}
	}
}

// compareMachine compares the host's addresses with those that etcd records as its own.
func (k *Keeper) compareMachine(ctx context.Context) error {
	session, err := k.Holding(allocator.Stateless)
	if err != nil || session == nil || session.Recovering() {
		return err
	}
	config := k.Config()
	host, err := k.ReadHost()
	if err != nil || config.Revision == 0 {
		return err // an error gives nothing up
	}
	has, links := map[ipam.Address]bool{}, map[ipam.Address]int{}
	for _, h := range host {
		for name, pool := range config.Pools {
			if pool.Contains(h.Address) && !slices.Contains(pool.Gateways, h.Address) && !slices.Contains(pool.Former, h.Address) {
				at := ipam.Address{Pool: name, Addr: h.Address}
				has[at], links[at] = true, h.Index
			}
		}
	}
	ask, subjects := map[ipam.Address]bool{}, []string{}
	var failed []error
	for at := range has {
		kept, asked, err := k.keepOwn(ctx, session, config, at, links[at])
		if err != nil {
			failed = append(failed, err)
		}
		if asked {
			ask[at] = true
		}
		if !kept {
			subjects = append(subjects, at.Addr.String())
		}
	}
	k.seen = has
	k.Findings.Keep(machineHeld, subjects...)
	if k.addresses.Requested.SetMachine(ask) {
		k.addresses.Waiters.Signal.Raise()
	}
	if len(ask) > 0 || len(subjects) > 0 {
		failed = append(failed, errHeldElsewhere)
	}
	return errors.Join(append(failed, k.releaseMachine(ctx, session, config, has))...)
}

// errHeldElsewhere says that another still holds, or may allocate, an address of this machine.
var errHeldElsewhere = errors.New("agent: an address of this machine's is not its own yet")

// keepOwn makes one address the machine's own, or reports its holder. asked: the owner of its part is to give it.
func (k *Keeper) keepOwn(ctx context.Context, session *session.Session, config *config.Config, at ipam.Address,
	index int) (kept, asked bool, err error) {
	pool := config.Pools[at.Pool]
	b, _ := k.addresses.Blocks.Of(&pool, at.Addr)
	owner := b.OwnerOf(at.Addr)
	var out *addresses.InFlight
	switch owner {
	case record.OwnerMachine:
		if k.seen[at] || slices.ContainsFunc(b.Machines(),
			func(p record.Part) bool { return p.Node == k.Name && p.Prefix.Contains(at.Addr) }) {
			return true, false, nil
		}
	case k.Name:
		if e := k.Journal.Holder(at.Pool, at.Addr); e != nil {
			k.reportHeld(at, index, fmt.Sprintf("container %s on this node", e.Attachment))
			return false, false, nil
		}
		if out = k.exchange.WithdrawUnheld(at.Pool, at.Addr); out == nil {
			return false, false, fmt.Errorf("address %s is in use on this node just now", at.Addr)
		}
	case "", record.OwnerStateful:
	default:
		return k.demandFromOwner(ctx, at, index, owner)
	}
	now, err := block.ClaimMachine(ctx, session, pool, config.PoolRevisions[at.Pool], at.Addr, out != nil)
	if out != nil {
		if err != nil && !transfers.Definite(err) && !errors.Is(err, block.ErrTaken) && !errors.Is(err, record.ErrStaleConfig) {
			k.addresses.MarkIndeterminate(out)
			return false, false, err
		}
		k.addresses.Resolved(out, now)
	} else if err == nil || errors.Is(err, block.ErrTaken) {
		k.addresses.Blocks.Put(now)
		k.Gate.Shared(func() { k.addresses.Reconcile(ipam.BlockID{Pool: at.Pool, Prefix: pool.BlockOf(at.Addr)}) })
	}
	if taken, is := errors.AsType[*record.TakenError](err); is {
		k.reportHeld(at, index, taken.Holder)
		return false, false, nil
	}
	if err == nil {
		k.Log.Info("an address of this machine lies in a pool, and is given to nobody", zap.String("pool", at.Pool),
			zap.Stringer("address", at.Addr))
	}
	return err == nil, false, err
}

// demandFromOwner handles an address that another node may allocate. Where that node is absent, its part is taken over.
func (k *Keeper) demandFromOwner(ctx context.Context, at ipam.Address, index int, owner string) (kept, asked bool, err error) {
	s, err := k.Store.Blocks.Assignment(ctx, at.Pool, at.Addr)
	if err != nil {
		return false, true, err
	}
	if s != nil {
		k.reportHeld(at, index, fmt.Sprintf("container %s on node %s", s.Attachment, s.Node))
	} else {
		k.reportHeld(at, index, fmt.Sprintf("nobody, but node %s may hand it out, and is asked for it", owner))
	}
	err = k.claims.TakeOverBlockOf(ctx, addresses.SpaceOf(at.Pool, at.Addr), at.Addr)
	if errors.Is(err, addresses.ErrNoBlock) {
		err = nil
	}
	return false, true, err
}

// reportHeld sets the finding that an address of this machine is held by another.
func (k *Keeper) reportHeld(at ipam.Address, index int, holder string) {
	link, err := k.Kernel().LinkName(index)
	if err != nil {
		link = fmt.Sprintf("link %d", index)
	}
	k.Findings.Set(machineHeld, at.Addr.String(),
		fmt.Sprintf("node %s has address %s on %s, and pool %q has it for containers: it is held by %s", k.Name, at.Addr, link, at.Pool, holder),
		"end the container that has it (or release its reservation), or give the node another address: then it is the node's own by itself")
}

// releaseMachine gives up addresses that etcd records as this machine's and that it has lacked for machineGone.
func (k *Keeper) releaseMachine(ctx context.Context, session *session.Session, config *config.Config, has map[ipam.Address]bool) error {
	var failed []error
	for _, at := range k.lost(k.addresses.Blocks.Machines(k.Name), has, time.Now()) {
		pool, known := config.Pools[at.Pool]
		if !known {
			continue
		}
		now, err := block.ReleaseMachine(ctx, session, pool, config.PoolRevisions[at.Pool], at.Addr)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		delete(k.gone, at)
		k.addresses.Blocks.Ended(now)
		k.Log.Info("gave up an address that this machine does not have any more", zap.String("pool", at.Pool),
			zap.Stringer("address", at.Addr))
	}
	return errors.Join(failed...)
}

// lost returns those of the machine's own addresses that it has lacked for machineGone.
func (m *Keeper) lost(own []ipam.Address, has map[ipam.Address]bool, now time.Time) (all []ipam.Address) {
	gone := map[ipam.Address]time.Time{}
	for _, at := range own {
		if has[at] {
			continue
		}
		since, before := m.gone[at]
		if !before {
			since = now
		}
		gone[at] = since
		if now.Sub(since) >= machineGone {
			all = append(all, at)
		}
	}
	m.gone = gone
	return all
}
