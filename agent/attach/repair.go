package attach

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/netops"
)

// settleTime bounds the wait for the work that settling has left.
const settleTime = 5 * time.Second

// publishPause is how long a batch may take to be published.
const publishPause = 200 * time.Millisecond

// Repair brings kernel, journal and etcd into agreement, as a start of the agent does: it restores the table, releases what is
// gone, removes orphaned ports, and has the node join and settle again. It returns when the outcome is published, or after a
// while.
func (d *Detacher) Repair(ctx context.Context) {
	if err := errors.Join(d.Kernel().EnsureTable(), d.removeOrphanPorts(ctx), d.processNotes()); err != nil {
		d.Log.Error("cannot repair all that the kernel holds", zap.Error(err))
	}
	d.Updater.Host.Look()
	d.Updater.Lagging.Rearranged.Forget()
	d.Updater.Rollout.Raise()
	d.sweep(ctx)
	before := d.Generation()
	d.Repairing.Raise()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for ctx.Err() == nil && (d.Generation() == before || d.Backlog.Len() > 0 || len(d.Journal.Pending()) > 0) {
		task.Pause(ctx, publishPause/4)
	}
	task.Pause(ctx, publishPause) // a batch may be under way
}

// removeOrphanPorts removes the ports without an attachment, under the lock of the attachment that the alias names, because its
// ADD may be under way. A port without an alias of Berth is left to an operator.
func (d *Detacher) removeOrphanPorts(ctx context.Context) error {
	ports, err := d.Kernel().Ports()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, e := range d.Journal.Entries() {
		known[e.Wiring.Port] = true
	}
	var failed []error
	for _, p := range ports {
		if e, err := plan.ParseAlias(p); err == nil && !known[p.Name] && !d.Isolator.Unidentified.HasPort(p.Name) {
			failed = append(failed, d.removeOrphanPort(ctx, p, e))
		}
	}
	return errors.Join(failed...)
}

func (d *Detacher) removeOrphanPort(ctx context.Context, p netops.PortInfo, named *journal.Entry) error {
	at := named.Attachment
	unlock, err := d.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	if p.Name == plan.PortName(at) && d.Journal.Get(at) != nil {
		return nil // it was made just now
	}
	d.Log.Info("removing an orphaned port", zap.String("port", p.Name), zap.String("alias", p.Alias))
	return d.Kernel().Detach(p.Name)
}
