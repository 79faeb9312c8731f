package publish

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A Publisher writes to etcd what the journal records: assignments, the node's status, and detachments.
type Publisher struct {
	*node.Node
	isolator  *isolation.Isolator
	addresses *addresses.Manager
	backlog   *backlog.Backlog
	status    func() record.Status // the node's present status

	Orphans   orphans
	Detach    task.Signal // detachments are pending
	detaching task.Lock
}

// New makes a node's publisher. status returns the node's present status.
func New(m *addresses.Manager, i *isolation.Isolator, b *backlog.Backlog, status func() record.Status) *Publisher {
	return &Publisher{Node: m.Node, isolator: i, addresses: m, backlog: b, status: status, Detach: task.NewSignal(), detaching: task.NewLock()}
}

// heartbeat is how often the node's status in etcd is compared. It is written with assignments, but stateful containers come and
// go without, and it can be deleted by hand.
const heartbeat = 3 * time.Second

// statusShown reports whether there is nothing to write: etcd has the status, or the node has no session.
func (p *Publisher) statusShown(ctx context.Context) bool {
	session := p.Gate.Session()
	return session == nil || rollout.Shows(ctx, session, p.status())
}

// publishAll writes assignments and the node's status as they change.
func (p *Publisher) publishAll(ctx context.Context) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.backlog.Signal:
		case <-beat.C:
			if p.statusShown(ctx) {
				continue
			}
		}
		if p.WhyNotReady() != "" {
			continue // raised again when the node is ready
		}
		// The status is computed first: the assignments of what it reports as applied are in the backlog by now.
		status := p.status()
		dirty := p.backlog.Pop()
		err := p.publish(ctx, status, dirty)
		if err != nil {
			for d := range dirty {
				p.backlog.Add(d.Pool, []netip.Addr{d.Addr})
			}
		}
		p.backlog.Done()
		if err != nil {
			p.backlog.Signal.Raise()
			p.Log.Debug("cannot publish yet", zap.Int("addresses", len(dirty)), zap.Error(err))
			task.Pause(ctx, 200*time.Millisecond)
		}
	}
}

func (p *Publisher) publish(ctx context.Context, status record.Status, dirty map[ipam.Address]struct{}) error {
	session, err := p.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	batch := rollout.Batch{Status: status}
	compared := map[ipam.BlockID]bool{}
	for d := range dirty {
		pool, _, err := p.Pool(d.Pool)
		if err != nil {
			continue // the pool is gone, with its assignments
		}
		if prefix := pool.BlockOf(d.Addr); p.addresses.Blocks.IsUnreadable(d.Pool, prefix) {
			p.addresses.Blocks.Park(prefix, d) // until its record is repaired
			continue
		}
		block, ok := p.addresses.Blocks.Of(pool, d.Addr)
		if !ok || block.OwnerOf(d.Addr) != p.Name {
			continue // lost: the new owner publishes
		}
		if k := block.ID(); !compared[k] {
			compared[k] = true
			batch.Blocks = append(batch.Blocks, block)
		}
		assignment := record.Assignment{Pool: d.Pool, Address: d.Addr}
		e := p.Journal.Holder(d.Pool, d.Addr)
		if e != nil && e.Isolated != nil {
			continue // isolated: etcd decides whose the address is
		}
		if e != nil && e.Answered != 0 {
			batch.Set = append(batch.Set, p.assignment(e, d.Addr))
		} else {
			batch.Clear = append(batch.Clear, assignment)
		}
	}
	err = rollout.Publish(ctx, session, batch)
	if bad, ok := errors.AsType[*kv.DamagedError](err); ok {
		p.addresses.Blocks.NoteUnreadable(bad)
	}
	if lost, ok := errors.AsType[*block.LostError](err); ok {
		p.addresses.Blocks.Put(lost.Block)
		p.Gate.Shared(func() { p.addresses.Reconcile(lost.Block.ID()) })
	}
	return err
}

func (p *Publisher) assignment(e *journal.Entry, addr netip.Addr) record.Assignment {
	return record.Assignment{Pool: e.Pool, Address: addr, Attachment: e.Attachment, App: e.App, Workload: e.Workload, Node: p.Name,
		Since: e.Since}
}

// Republish adds every address to the backlog whose assignment in etcd differs from the journal.
func (p *Publisher) Republish(assignments []record.Assignment) {
	in := map[ipam.Address]record.Assignment{}
	for _, s := range assignments {
		in[ipam.Address{Pool: s.Pool, Addr: s.Address}] = s
		if p.addresses.Stale(s) {
			p.backlog.Add(s.Pool, []netip.Addr{s.Address})
		}
	}
	for _, e := range p.Journal.Entries() {
		for _, addr := range e.Addresses {
			s, ok := in[ipam.Address{Pool: e.Pool, Addr: addr}]
			if e.Class == allocator.Stateless && (!ok || s.Attachment != e.Attachment || s.Node != p.Name) {
				p.backlog.Add(e.Pool, []netip.Addr{addr})
			}
		}
	}
	p.backlog.Signal.Raise()
}
