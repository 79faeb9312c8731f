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

// A Detacher removes containers from the kernel and the journal: those that are deleted, those that are gone, and what failed
// ADDs have left behind.
type Detacher struct {
	Parts
	adopt bool // the journal is new, and another may have served this boot before
}

// NewDetacher makes a node's detacher.
func NewDetacher(p Parts) *Detacher {
	return &Detacher{Parts: p, adopt: p.Journal.Cluster() == journal.Cluster{}}
}

// Delete is CNI DEL for a set. An absent container is a success, and each one is deleted whatever becomes of the others. DryRun
// deletes nothing; Release also ends the reservations of stateful members.
func (d *Detacher) Delete(ctx context.Context, r *wire.Request, files []*os.File) ([]wire.Result, error) {
	set, err := targets(d.Node, r, files)
	if err != nil {
		return nil, err
	}
	results := make([]wire.Result, len(set))
	var failed []error
	for i, m := range set {
		e := d.Journal.Get(m.attachment)
		results[i] = d.holdings(e)
		if r.DryRun {
			continue
		}
		err := d.deleteOne(ctx, m.attachment, allocator.Instant(r.Started), r.Release)
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

// deleteOne ends one attachment for a request that began at began, and publishes that, so that a stateful member can start
// elsewhere at once. If etcd is unreachable, it is published later.
func (d *Detacher) deleteOne(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) error {
	e, err := d.deleteHere(ctx, at, began, giveUp)
	if err != nil || e == nil || e.Class != allocator.Stateful {
		return err
	}
	if err := d.Publisher.DetachPending(ctx); err != nil {
		d.Log.Warn("cannot publish a detachment to etcd yet", zap.Stringer("identity", e.Identity()), zap.Error(err))
		if giveUp {
			return wire.Errorf(wire.CodeTryAgain,
				"%s is deleted, and the reservation of %s is given up as soon as etcd answers, without doing: %w", at, e.Identity(), err)
		}
	}
	return nil
}

// deleteHere ends one attachment on this node, and returns its entry, or nil.
func (d *Detacher) deleteHere(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) (*journal.Entry, error) {
	unlock, err := d.Locks.Lock(ctx, at)
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", at)
	}
	defer unlock()
	e := d.Journal.Get(at)
	if e != nil && began != 0 && began < e.Began {
		return nil, nil // a DEL from before the present ADD
	}
	release := journal.Release{Attachment: at, Began: began, At: d.Clock.Boot(), GiveUp: giveUp}
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

// unwire removes an attachment from the kernel, then from the journal. It excludes settling, which opens the ports of the
// journal's entries.
func (d *Detacher) unwire(e *journal.Entry, r journal.Release) (err error) {
	release, _ := d.Slots.Acquire(context.Background()) // not the caller's: an undo is not cancelled
	defer release()
	d.Gate.Shared(func() {
		if e.Wiring.Port != "" {
			if err = d.Kernel().Detach(e.Wiring.Port); err != nil {
				return
			}
		}
		d.release(e, r)
	})
	return err
}

// release releases an entry's addresses, in the journal first, then in the allocator.
func (d *Detacher) release(e *journal.Entry, r journal.Release) {
	if e.Role == wire.IPAM {
		r.Quarantine = addresses.QuarantineIPAM
	}
	d.Journal.Release(r)
	d.Isolator.ClearCut(e)
	if d.Updater.Lagging.Drop(e.Attachment) {
		d.Backlog.Signal.Raise() // the status has changed
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

// An Evidence shows that an entry's container is gone. Gone is asked again under the attachment's lock. It applies only to what
// was answered before the evidence was collected: each answered ADD makes a new attachment.
type Evidence struct {
	Name  string
	Taken allocator.Instant
	Gone  func(*journal.Entry) bool
}

// Collect ends an attachment because of evidence. Etcd is updated in the background, because no caller waits for the address, and
// hundreds of these would take minutes while etcd is unreachable.
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
	if err := d.unwire(e, journal.Release{Attachment: at, Began: e.Began, At: d.Clock.Boot()}); err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	d.Metrics.Collected(because.Name)
	d.Log.Info("a container is gone without a DEL", zap.Stringer("attachment", at), zap.String("evidence", because.Name),
		zap.Stringers("addresses", e.Addresses))
	return nil
}
