package agent

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// backlog are the stateless addresses whose assignment in etcd may differ from the journal. What is published is what
// the journal says at that time, so that a batch can be repeated, and many changes of one address cost one write.
type backlog struct {
	mu     sync.Mutex
	dirty  map[ipam.Address]struct{}
	sent   map[ipam.Address]struct{} // those that were taken, while it is not known that etcd has them
	signal task.Signal
}

func (b *backlog) add(pool string, addresses []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirty == nil {
		b.dirty = map[ipam.Address]struct{}{}
	}
	for _, a := range addresses {
		b.dirty[ipam.Address{Pool: pool, Addr: a}] = struct{}{}
	}
	b.signal.Raise()
}

// take empties the backlog; done follows, once etcd has what was taken or it is in the backlog again.
func (b *backlog) take() map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	dirty := b.dirty
	b.dirty, b.sent = nil, dirty
	return dirty
}

func (b *backlog) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = nil
}

// len is how many addresses etcd does not have as the journal has them.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.sent)
	for a := range b.dirty {
		if _, again := b.sent[a]; !again {
			n++
		}
	}
	return n
}

// heartbeat is how often it is looked whether the node's status in etcd says what is so: it is written with what is published, but
// stateful containers come and go without, and anybody may delete it.
const heartbeat = 3 * time.Second

// statusShown reports whether there is nothing to write: etcd has the status as it is, or the node has no session to write by.
func (a *Agent) statusShown() bool {
	session := a.gate.Session()
	return session == nil || rollout.Shows(session, a.status())
}

// publishAll writes assignments and the node's status as they change.
func (a *Agent) publishAll(ctx context.Context) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.backlog.signal:
		case <-beat.C:
			if a.statusShown() {
				continue
			}
		}
		if a.waiting.Load() != nil {
			continue // raised again when the node is ready
		}
		// The status first: what it says was applied is in the journal, and so in the backlog, by now.
		status := a.status()
		dirty := a.backlog.take()
		err := a.publish(ctx, status, dirty)
		if err != nil {
			for d := range dirty {
				a.backlog.add(d.Pool, []netip.Addr{d.Addr})
			}
		}
		a.backlog.done()
		if err != nil {
			a.backlog.signal.Raise()
			a.Log.Debug("cannot publish yet", zap.Int("addresses", len(dirty)), zap.Error(err))
			task.Pause(ctx, 200*time.Millisecond)
		}
	}
}

func (a *Agent) publish(ctx context.Context, status record.Status, dirty map[ipam.Address]struct{}) error {
	session, err := a.holding(allocator.Stateless)
	if err != nil {
		return err
	}
	batch := rollout.Batch{Status: status}
	compared := map[ipam.BlockID]bool{}
	for d := range dirty {
		pool, _, err := a.pool(d.Pool)
		if err != nil {
			continue // the pool is gone, and with it what was published
		}
		if prefix := pool.BlockOf(d.Addr); a.blocks.isHidden(d.Pool, prefix) {
			a.blocks.park(prefix, d) // until its record is mended
			continue
		}
		block, ok := a.blocks.of(pool, d.Addr)
		if !ok || block.OwnerOf(d.Addr) != a.Node {
			continue // lost: its new owner publishes
		}
		if k := (ipam.BlockID{Pool: block.Pool, Prefix: block.Prefix}); !compared[k] {
			compared[k] = true
			batch.Blocks = append(batch.Blocks, block)
		}
		assignment := record.Assignment{Pool: d.Pool, Address: d.Addr}
		e := a.journal.Holder(d.Pool, d.Addr)
		if e != nil && e.Isolated != nil {
			continue // whose the address is, is for etcd to say, not for this node
		}
		if e != nil && e.Answered != 0 {
			batch.Set = append(batch.Set, a.assignment(e, d.Addr))
		} else {
			batch.Clear = append(batch.Clear, assignment)
		}
	}
	err = rollout.Publish(ctx, session, batch)
	if bad, ok := errors.AsType[*kv.DamagedError](err); ok {
		a.blocks.spoil(bad)
	}
	if lost, ok := errors.AsType[*block.LostError](err); ok && !broken.Settling {
		a.blocks.put(lost.Block)
		a.gate.Shared(func() { a.reconcile(keyOf(lost.Block)) })
	}
	return err
}

func (a *Agent) assignment(e *journal.Entry, addr netip.Addr) record.Assignment {
	return record.Assignment{Pool: e.Pool, Address: addr, Attachment: e.Attachment, App: e.App, Workload: e.Workload, Node: a.Node,
		Since: e.Since}
}

// republish puts every address into the backlog whose assignment in etcd differs from the journal.
func (a *Agent) republish(assignments []record.Assignment) {
	in := map[ipam.Address]record.Assignment{}
	for _, s := range assignments {
		in[ipam.Address{Pool: s.Pool, Addr: s.Address}] = s
		if a.stale(s) {
			a.backlog.add(s.Pool, []netip.Addr{s.Address})
		}
	}
	for _, e := range a.journal.Entries() {
		for _, addr := range e.Addresses {
			if s, ok := in[ipam.Address{Pool: e.Pool, Addr: addr}]; e.Class == allocator.Stateless && (!ok || s.Attachment != e.Attachment || s.Node != a.Node) {
				a.backlog.add(e.Pool, []netip.Addr{addr})
			}
		}
	}
	a.backlog.signal.Raise()
}

// stale reports whether nobody here has what etcd shows to be assigned, and it is this node's to say so: it was assigned
// here, or lies in what the node has taken from another.
func (a *Agent) stale(s record.Assignment) bool {
	if a.journal.Holder(s.Pool, s.Address) != nil {
		return false
	}
	own := false
	a.pools.on(s.Pool, s.Address, func(space *allocator.Space) { own = space.Owns(s.Address) })
	return own || s.Node == a.Node
}

// clearTaken takes away what the former owner of a block had published of it.
func (a *Agent) clearTaken(ctx context.Context, b record.Block) {
	assignments, err := a.store.Blocks.Assignments(ctx)
	if err != nil {
		a.Log.Warn("what was assigned in a taken block is shown until the next settling", zap.Stringer("block", b.Prefix), zap.Error(err))
		return
	}
	for _, s := range assignments {
		if s.Pool == b.Pool && b.Prefix.Contains(s.Address) && a.stale(s) {
			a.backlog.add(s.Pool, []netip.Addr{s.Address})
		}
	}
}
