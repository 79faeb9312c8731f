package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// A detacher takes containers out of the kernel and the journal: those that are deleted, those that are found to be gone, and
// what ADDs have left behind.
type detacher struct {
	*node.Node
	isolator  *isolator
	addresses *manager
	publisher *publisher
	updater   *updater
	machine   *machine
	keeper    *keeper
	backlog   *backlog
	host      *host.Keeper
	adopt     bool // the journal is new under a boot that may have had another, and has handed nothing out yet
}

func newDetacher(p *publisher, u *updater, m *machine, k *keeper, h *host.Keeper) *detacher {
	return &detacher{
		Node: p.Node, isolator: p.isolator, addresses: p.addresses, publisher: p, updater: u, machine: m, keeper: k, backlog: p.backlog,
		host: h, adopt: p.Journal.Cluster() == journal.Cluster{},
	}
}

// Run gives back what the kernel says is gone, until ctx ends.
func (a *detacher) Run(ctx context.Context) error { return a.watchKernel(ctx) }

// delete is CNI DEL for a set. What is absent is a success; each member is deleted whatever became of the others. With
// DryRun nothing is; with Release the reservations of stateful members end, too.
func (a *detacher) delete(ctx context.Context, r *wire.Request, files []*os.File) ([]wire.Result, error) {
	set, err := targets(a.Node, r, files)
	if err != nil {
		return nil, err
	}
	results := make([]wire.Result, len(set))
	var failed []error
	for i, m := range set {
		e := a.Journal.Get(m.attachment)
		results[i] = a.holdings(e)
		if r.DryRun {
			continue
		}
		err := a.deleteOne(ctx, m.attachment, allocator.Instant(r.Started), r.Release)
		if err != nil {
			results[i].Error = wire.AsError(err)
			failed = append(failed, err)
		}
	}
	if r.Each {
		return results, nil
	}
	return results, errors.Join(failed...)
}

// holdings are what an attachment has.
func (a *detacher) holdings(e *journal.Entry) (r wire.Result) {
	if e == nil {
		return r
	}
	r.Class, r.Pool = string(e.Class), e.Pool
	for _, addr := range e.Addresses {
		r.Addresses = append(r.Addresses, wire.Address{Address: netip.PrefixFrom(addr, addr.BitLen())})
	}
	return r
}

// deleteOne ends one attachment on behalf of a request that began at began, and lets etcd know, so that a stateful member
// can start elsewhere at once. Where etcd is away, it learns of it later.
func (a *detacher) deleteOne(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) error {
	e, err := a.deleteHere(ctx, at, began, giveUp)
	if err != nil || e == nil || e.Class != allocator.Stateful {
		return err
	}
	if err := a.publisher.detachPending(ctx); err != nil {
		a.Log.Warn("etcd is to learn of a detachment later", zap.Stringer("identity", e.Identity()), zap.Error(err))
		if giveUp {
			return wire.Errorf(wire.CodeTryAgain,
				"%s is deleted, and the reservation of %s is given up as soon as etcd answers, without doing: %w", at, e.Identity(), err)
		}
	}
	return nil
}

// deleteHere is deleteOne as far as this node goes. It returns what it has ended, or nil.
func (a *detacher) deleteHere(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) (*journal.Entry, error) {
	unlock, err := a.Locks.Lock(ctx, at)
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", at)
	}
	defer unlock()
	e := a.Journal.Get(at)
	if e != nil && began != 0 && began < e.Began {
		return nil, nil // a DEL of the container's former life
	}
	release := journal.Release{Attachment: at, Began: began, At: wire.Boottime(), GiveUp: giveUp}
	if e == nil {
		if err := a.isolator.removeUnread(at); err != nil {
			return nil, wire.Errorf(wire.CodeIO, "%w", err)
		}
		a.Journal.Release(release)
		return nil, nil
	}
	if err := a.unwire(e, release); err != nil {
		return nil, wire.Errorf(wire.CodeIO, "%w", err)
	}
	return e, nil
}

// unwire takes an attachment out of the kernel, then out of the journal. It excludes settling meanwhile, which lets
// the ports of all that is in the journal pass.
func (a *detacher) unwire(e *journal.Entry, r journal.Release) (err error) {
	release, _ := a.Slots.Acquire(context.Background()) // not the caller's: what is to be undone is undone
	defer release()
	a.Gate.Shared(func() {
		if e.Wiring.Port != "" {
			if err = a.Kernel.Detach(e.Wiring.Port); err != nil {
				return
			}
		}
		a.release(e, r)
	})
	return err
}

// release gives an entry's addresses back: in the journal first, then for whoever comes next.
func (a *detacher) release(e *journal.Entry, r journal.Release) {
	if e.Role == wire.IPAM {
		r.Quarantine = quarantineIPAM
	}
	a.Journal.Release(r)
	a.Findings.Clear(findingCut, e.Attachment.String())
	if a.updater.lagging.drop(e.Attachment) {
		a.backlog.signal.Raise() // the status tells it
	}
	if e.Class == allocator.Stateful {
		a.publisher.detach.Raise()
		return
	}
	for _, addr := range e.Addresses {
		a.addresses.pools.release(e.Pool, addr, e.App, r.At, r.Quarantine)
		a.addresses.freed(spaceKey{e.Pool, allocator.FamilyOf(addr)})
	}
	a.backlog.add(e.Pool, e.Addresses)
}

// An evidence is what tells that the container of an entry is gone: gone asks again, under the attachment's lock. Only what
// was answered before it was taken counts: each answered ADD begins a new life, of which it does not speak.
type evidence struct {
	name  string
	taken allocator.Instant
	gone  func(*journal.Entry) bool
}

// collect ends an attachment because of evidence. Nobody waits for the address, so etcd learns of it afterwards: while it is
// away, hundreds of these would take minutes else.
func (a *detacher) collect(ctx context.Context, at allocator.Attachment, because evidence) error {
	unlock, err := a.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	e := a.Journal.Get(at)
	if e == nil || e.Answered == 0 || e.Answered >= because.taken || !because.gone(e) {
		return nil
	}
	if err := a.unwire(e, journal.Release{Attachment: at, Began: e.Began, At: wire.Boottime()}); err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	a.Metrics.Collected(because.name)
	a.Log.Info("a container is gone without a DEL", zap.Stringer("attachment", at), zap.String("evidence", because.name),
		zap.Stringers("addresses", e.Addresses))
	return nil
}
