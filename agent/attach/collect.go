package attach

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// sweepEvery is how often the kernel is asked about every attachment, for what no event told.
const sweepEvery = time.Minute

// watchKernel gives back the addresses of containers that the kernel says are gone, whether or not the runtime ever
// calls DEL. It also takes in the notes that a plugin may write while the socket was briefly out of reach.
func (d *Detacher) watchKernel(ctx context.Context) error {
	for _, sentence := range d.Kernel.Diagnose() {
		d.Log.Warn(sentence)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-d.Kernel.Events():
			d.Handle(ctx, event)
		case <-tick.C:
			d.Sweep(ctx)
			if err := d.processNotes(); err != nil {
				d.Log.Error("the spool", zap.Error(err))
			}
		}
	}
}

// Handle does what an event of the kernel asks for.
func (d *Detacher) Handle(ctx context.Context, event netops.Event) {
	taken := wire.Boottime()
	switch event.Kind {
	case netops.Overrun:
		d.Machine.Look.Raise()
		d.Sweep(ctx)
		d.Updater.Host.Changed()
	case netops.AddressChanged:
		d.Machine.Look.Raise()
	case netops.TableChanged:
		d.Member.RestoreTable()
	case netops.HostChanged:
		d.Updater.Host.Changed()
	case netops.Cloned:
		d.Member.Cloned()
	case netops.PortGone:
		if !d.Kernel.HasPort(event.Port) {
			d.Isolator.Identified(event.Port)
			if e := d.Journal.OfPort(event.Port); e != nil {
				d.collectAll(ctx, Evidence{Name: "interface gone", Taken: taken, Gone: func(e *journal.Entry) bool {
					return e.Wiring.Port == event.Port && !d.Kernel.HasPort(event.Port)
				}}, e)
			}
		}
	case netops.NamespaceGone:
		d.collectAll(ctx, Evidence{Name: "namespace gone", Taken: taken, Gone: func(e *journal.Entry) bool {
			return e.NamespaceID == event.NamespaceID+1 && d.namespaceGone(e)
		}}, d.Journal.InNamespace(event.NamespaceID)...)
	}
}

// Sweep asks the kernel about every attachment.
func (d *Detacher) Sweep(ctx context.Context) {
	taken := wire.Boottime()
	ports, err := d.Kernel.Ports()
	if err != nil {
		d.Log.Error("cannot look for containers that are gone; the next sweep tries again", zap.Error(err))
		return
	}
	d.collectAll(ctx, Evidence{Name: "sweep", Taken: taken, Gone: func(e *journal.Entry) bool { return !d.Exists(e) }}, d.goneFrom(ports)...)
	d.undoUnanswered(ctx)
	if err := d.forgetPorts(); err != nil {
		d.Log.Error("cannot compare the ports with their classes", zap.Error(err))
	}
}

// goneFrom are the attachments that are gone by a list of the ports there are. Of a port that the list lacks the kernel is asked
// once more.
func (d *Detacher) goneFrom(ports []netops.PortInfo) (gone []*journal.Entry) {
	there := make(map[string]bool, len(ports))
	for _, p := range ports {
		there[p.Name] = true
	}
	for _, e := range d.Journal.Entries() {
		if !there[e.Wiring.Port] && !d.Exists(e) {
			gone = append(gone, e)
		}
	}
	return gone
}

// undoUnanswered takes back what ADDs have left behind that could not be taken back then. An ADD that is on its way has its
// attachment's lock.
func (d *Detacher) undoUnanswered(ctx context.Context) {
	for _, e := range d.Journal.Entries() {
		if e.Answered != 0 {
			continue
		}
		d.Background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
			defer cancel()
			if err := d.undoOne(ctx, e.Attachment); err != nil {
				d.Log.Error("cannot take back an ADD that was not answered; it is tried again within a minute",
					zap.Stringer("attachment", e.Attachment), zap.Error(err))
			}
		})
	}
}

func (d *Detacher) undoOne(ctx context.Context, at allocator.Attachment) error {
	unlock, err := d.Locks.Lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	if e := d.Journal.Get(at); e != nil && e.Answered == 0 {
		return d.unwire(e, journal.Release{Attachment: at, At: wire.Boottime()})
	}
	return nil
}

// collectAll gives back what attachments have had that are gone by some evidence.
func (d *Detacher) collectAll(ctx context.Context, because Evidence, among ...*journal.Entry) {
	for _, e := range among {
		if e.Answered == 0 {
			continue
		}
		d.Background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
			defer cancel()
			if err := d.Collect(ctx, e.Attachment, because); err != nil {
				d.Log.Error("cannot give back what a gone container had; it is tried again within a minute", zap.Stringer("attachment", e.Attachment),
					zap.Error(err))
			}
		})
	}
}
