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

// settleTime bounds the wait for what a settling leaves to do.
const settleTime = 5 * time.Second

// publishPause is how long a batch that is being published may be on its way.
const publishPause = 200 * time.Millisecond

// Repair brings kernel, journal and etcd into agreement, as a start of the agent would: the table is put back, what is
// gone is given back, ports that nobody knows are removed, and then the node joins and settles anew. It returns when
// etcd knows the outcome, or after a while.
func (d *Detacher) Repair(ctx context.Context) {
	if err := errors.Join(d.Kernel.EnsureTable(), d.removeOrphanPorts(ctx), d.processNotes()); err != nil {
		d.Log.Error("cannot mend all that the kernel holds", zap.Error(err))
	}
	d.Updater.Host.Look()
	d.Updater.Lagging.Rearranged.Forget()
	d.Updater.Rollout.Raise()
	d.Sweep(ctx)
	before := d.Generation()
	d.Repairing.Raise()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for ctx.Err() == nil && (d.Generation() == before || d.Backlog.Len() > 0 || len(d.Journal.Pending()) > 0) {
		task.Pause(ctx, publishPause/4)
	}
	task.Pause(ctx, publishPause) // the last batch may be on its way
}

// removeOrphanPorts removes the ports that no attachment has, under the lock of the one that the port's alias names: an
// ADD of that one would be on its way. A port without an alias of ours is left to a person.
func (d *Detacher) removeOrphanPorts(ctx context.Context) error {
	ports, err := d.Kernel.Ports()
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
		return nil // it came just now; under any other name an attachment has no port
	}
	d.Log.Info("removing a port that nobody knows", zap.String("port", p.Name), zap.String("alias", p.Alias))
	return d.Kernel.Detach(p.Name)
}
