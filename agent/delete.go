package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// quarantineIPAM is how long nobody gets an address that was released in the IPAM role: the plugin above may release
// it before it deletes the interface.
const quarantineIPAM = 2 * time.Second

// delete is CNI DEL for a set. What is absent is a success; each member is deleted whatever became of the others. With
// DryRun nothing is; with Release the reservations of stateful members end, too.
func (a *Agent) delete(ctx context.Context, r *wire.Request, files []*os.File) ([]wire.Result, error) {
	set, err := a.members(r, files)
	if err != nil {
		return nil, err
	}
	results := make([]wire.Result, len(set))
	var failed []error
	for i, m := range set {
		e := a.journal.Get(m.attachment)
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
func (a *Agent) holdings(e *journal.Entry) (r wire.Result) {
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
func (a *Agent) deleteOne(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) error {
	e, err := a.deleteHere(ctx, at, began, giveUp)
	if err != nil || e == nil || e.Class != allocator.Stateful {
		return err
	}
	if err := a.detachPending(ctx); err != nil {
		a.Log.Warn("etcd is to learn of a detachment later", zap.Stringer("identity", e.Identity()), zap.Error(err))
		if giveUp {
			return wire.Errorf(wire.CodeTryAgain,
				"%s is deleted, and the reservation of %s is given up as soon as etcd answers, without doing: %w", at, e.Identity(), err)
		}
	}
	return nil
}

// deleteHere is deleteOne as far as this node goes. It returns what it has ended, or nil.
func (a *Agent) deleteHere(ctx context.Context, at allocator.Attachment, began allocator.Instant, giveUp bool) (*journal.Entry, error) {
	unlock, err := a.locks.Lock(ctx, at)
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", at)
	}
	defer unlock()
	e := a.journal.Get(at)
	if e != nil && began != 0 && began < e.Began {
		return nil, nil // a DEL of the container's former life
	}
	release := journal.Release{Attachment: at, Began: began, At: wire.Boottime(), GiveUp: giveUp}
	if e == nil {
		if err := a.removeUnread(at); err != nil {
			return nil, wire.Errorf(wire.CodeIO, "%w", err)
		}
		a.journal.Release(release)
		return nil, nil
	}
	if err := a.unwire(e, release); err != nil {
		return nil, wire.Errorf(wire.CodeIO, "%w", err)
	}
	return e, nil
}

// unwire takes an attachment out of the kernel, then out of the journal. It excludes settling meanwhile, which lets
// the ports of all that is in the journal pass.
func (a *Agent) unwire(e *journal.Entry, r journal.Release) (err error) {
	release, _ := a.slots.Acquire(context.Background()) // not the caller's: what is to be undone is undone
	defer release()
	a.gate.Shared(func() {
		if e.Wiring.Port != "" {
			if err = a.kernel.Detach(e.Wiring.Port); err != nil {
				return
			}
		}
		a.release(e, r)
	})
	return err
}

// release gives an entry's addresses back: in the journal first, then for whoever comes next.
func (a *Agent) release(e *journal.Entry, r journal.Release) {
	if e.Role == wire.IPAM {
		r.Quarantine = quarantineIPAM
	}
	a.journal.Release(r)
	a.findings.Clear(findingCut, e.Attachment.String())
	if a.lagging.drop(e.Attachment) {
		a.backlog.signal.Raise() // the status tells it
	}
	if e.Class == allocator.Stateful {
		a.detach.Raise()
		return
	}
	for _, addr := range e.Addresses {
		a.pools.release(e.Pool, addr, e.App, r.At, r.Quarantine)
		a.freed(spaceKey{e.Pool, allocator.FamilyOf(addr)})
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
func (a *Agent) collect(ctx context.Context, at allocator.Attachment, because evidence) error {
	unlock, err := a.locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	e := a.journal.Get(at)
	if e == nil || e.Answered == 0 || e.Answered >= because.taken || !because.gone(e) {
		return nil
	}
	if err := a.unwire(e, journal.Release{Attachment: at, Began: e.Began, At: wire.Boottime()}); err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	a.metrics.Collected(because.name)
	a.Log.Info("a container is gone without a DEL", zap.Stringer("attachment", at), zap.String("evidence", because.name),
		zap.Stringers("addresses", e.Addresses))
	return nil
}
