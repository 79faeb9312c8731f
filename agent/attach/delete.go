package attach

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// A Detacher takes containers out of the kernel and the journal: those that are deleted, those that are found to be gone, and
// what ADDs have left behind.
type Detacher struct {
	Parts
	adopt bool // the journal is new under a boot that may have had another, and has handed nothing out yet
}

// NewDetacher makes a node's detacher.
func NewDetacher(p Parts) *Detacher {
	return &Detacher{Parts: p, adopt: p.Journal.Cluster() == journal.Cluster{}}
}

// Run gives back what the kernel says is gone, until ctx ends.
func (d *Detacher) Run(ctx context.Context) error { return d.watchKernel(ctx) }

// Delete is CNI DEL for a set. What is absent is a success; each member is deleted whatever became of the others. With
// DryRun nothing is; with Release the reservations of stateful members end, too.
func (d *Detacher) Delete(ctx context.Context, r *wire.Request, files []*os.File) ([]wire.Result, error) {
	set, err := Targets(d.Node, r, files)
	if err != nil {
		return nil, err
	}
	results := make([]wire.Result, len(set))
	var failed []error
	for i, m := range set {
		e := d.Journal.Get(m.Attachment)
		results[i] = d.holdings(e)
		if r.DryRun {
			continue
		}
		err := d.deleteOne(ctx, m.Attachment, allocator.Instant(r.Started), r.Release)
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
func (d *Detacher) holdings(e *journal.Entry) (r wire.Result) {
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
func (d *Detacher) deleteOne(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) error {
	e, err := d.deleteHere(ctx, at, began, giveUp)
	if err != nil || e == nil || e.Class != allocator.Stateful {
		return err
	}
	if err := d.Publisher.DetachPending(ctx); err != nil {
		d.Log.Warn("etcd is to learn of a detachment later", zap.Stringer("identity", e.Identity()), zap.Error(err))
		if giveUp {
			return wire.Errorf(wire.CodeTryAgain,
				"%s is deleted, and the reservation of %s is given up as soon as etcd answers, without doing: %w", at, e.Identity(), err)
		}
	}
	return nil
}

// deleteHere is deleteOne as far as this node goes. It returns what it has ended, or nil.
func (d *Detacher) deleteHere(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) (*journal.Entry, error) {
	unlock, err := d.Locks.Lock(ctx, at)
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", at)
	}
	defer unlock()
	e := d.Journal.Get(at)
	if e != nil && began != 0 && began < e.Began {
		return nil, nil // a DEL of the container's former life
	}
	release := journal.Release{Attachment: at, Began: began, At: wire.Boottime(), GiveUp: giveUp}
	if e == nil {
		if err := d.Isolator.RemoveUnidentified(at); err != nil {
			return nil, wire.Errorf(wire.CodeIO, "%w", err)
		}
		d.Journal.Release(release)
		return nil, nil
	}
	if err := d.unwire(e, release); err != nil {
		return nil, wire.Errorf(wire.CodeIO, "%w", err)
	}
	return e, nil
}

// unwire takes an attachment out of the kernel, then out of the journal. It excludes settling meanwhile, which lets
// the ports of all that is in the journal pass.
func (d *Detacher) unwire(e *journal.Entry, r journal.Release) (err error) {
	release, _ := d.Slots.Acquire(context.Background()) // not the caller's: what is to be undone is undone
	defer release()
	d.Gate.Shared(func() {
		if e.Wiring.Port != "" {
			if err = d.Kernel.Detach(e.Wiring.Port); err != nil {
				return
			}
		}
		d.release(e, r)
	})
	return err
}

// release gives an entry's addresses back: in the journal first, then for whoever comes next.
func (d *Detacher) release(e *journal.Entry, r journal.Release) {
	if e.Role == wire.IPAM {
		r.Quarantine = addresses.QuarantineIPAM
	}
	d.Journal.Release(r)
	d.Isolator.ClearCut(e)
	if d.Updater.Lagging.Drop(e.Attachment) {
		d.Backlog.Signal.Raise() // the status tells it
	}
	if e.Class == allocator.Stateful {
		d.Publisher.Detach.Raise()
		return
	}
	for _, addr := range e.Addresses {
		d.Addresses.Pools.Release(e.Pool, addr, e.App, r.At, r.Quarantine)
		d.Addresses.Freed(addresses.SpaceOf(e.Pool, addr))
	}
	d.Backlog.Add(e.Pool, e.Addresses)
}

// An Evidence is what tells that the container of an entry is gone: gone asks again, under the attachment's lock. Only what
// was answered before it was taken counts: each answered ADD begins a new life, of which it does not speak.
type Evidence struct {
	Name  string
	Taken allocator.Instant
	Gone  func(*journal.Entry) bool
}

// Collect ends an attachment because of evidence. Nobody waits for the address, so etcd learns of it afterwards: while it is
// away, hundreds of these would take minutes else.
func (d *Detacher) Collect(ctx context.Context, at allocator.Attachment, because Evidence) error {
	unlock, err := d.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	e := d.Journal.Get(at)
	if e == nil || e.Answered == 0 || e.Answered >= because.Taken || !because.Gone(e) {
		return nil
	}
	if err := d.unwire(e, journal.Release{Attachment: at, Began: e.Began, At: wire.Boottime()}); err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	d.Metrics.Collected(because.Name)
	d.Log.Info("a container is gone without a DEL", zap.Stringer("attachment", at), zap.String("evidence", because.Name),
		zap.Stringers("addresses", e.Addresses))
	return nil
}
