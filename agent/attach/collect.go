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

// sweepEvery is how often the kernel is asked about every attachment, in case an event was missed.
const sweepEvery = time.Minute

// Run releases the addresses of containers that are gone by the kernel, even if the runtime never calls DEL. It also
// processes the notes that a plugin may write while the socket is briefly unreachable. It ends with ctx.
func (d *Detacher) Run(ctx context.Context) error {
	for _, sentence := range d.Kernel().Diagnose() {
		d.Log.Warn(sentence)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-d.Kernel().Events():
			d.Handle(ctx, event)
		case <-tick.C:
			d.sweep(ctx)
			if err := d.processNotes(); err != nil {
				d.Log.Error("the spool", zap.Error(err))
			}
		}
	}
}

// Handle handles an event of the kernel.
func (d *Detacher) Handle(ctx context.Context, event netops.Event) {
	taken := d.Clock.Boot()
	switch event.Kind {
	case netops.Overrun:
		d.Machine.Look.Raise()
		d.sweep(ctx)
		d.Updater.Host.Changed()
		d.Routes.Changed()
	case netops.AddressChanged:
		d.Machine.Look.Raise()
		d.Routes.Changed() // a next hop may be reachable by now
		d.Member.AddressChanged()
	case netops.TableChanged:
		d.Member.RestoreTable()
	case netops.HostChanged:
		d.Updater.Host.Changed()
		d.Routes.Changed()
	case netops.Cloned:
		d.Member.Cloned()
	case netops.PortGone:
		if !d.Kernel().HasPort(event.Port) {
			d.Isolator.Identified(event.Port)
			if e := d.Journal.OfPort(event.Port); e != nil {
				d.collectAll(ctx, Evidence{Name: "interface gone", Taken: taken, Gone: func(e *journal.Entry) bool {
					return e.Wiring.Port == event.Port && !d.Kernel().HasPort(event.Port)
				}}, e)
			}
		}
	case netops.NamespaceGone:
		d.collectAll(ctx, Evidence{Name: "namespace gone", Taken: taken, Gone: func(e *journal.Entry) bool {
			return e.NamespaceID == event.NamespaceID+1 && d.namespaceGone(e)
		}}, d.Journal.InNamespace(event.NamespaceID)...)
	}
}

// sweep collects all attachments that are gone.
func (d *Detacher) sweep(ctx context.Context) {
	taken := d.Clock.Boot()
	ports, err := d.Kernel().Ports()
	if err != nil {
		d.Log.Error("cannot look for containers that are gone; the next sweep tries again", zap.Error(err))
		return
	}
	d.collectAll(ctx, Evidence{Name: "sweep", Taken: taken, Gone: func(e *journal.Entry) bool { return !d.exists(e) }}, d.goneFrom(ports)...)
	d.undoUnanswered(ctx)
	if err := d.forgetPorts(); err != nil {
		d.Log.Error("cannot compare the ports with their classes", zap.Error(err))
	}
}

// goneFrom are the attachments that are gone by a list of the existing ports. The kernel is asked again about each port that the
// list lacks.
func (d *Detacher) goneFrom(ports []netops.PortInfo) (gone []*journal.Entry) {
	there := make(map[string]bool, len(ports))
	for _, p := range ports {
		there[p.Name] = true
	}
	for _, e := range d.Journal.Entries() {
		if !there[e.Wiring.Port] && !d.exists(e) {
			gone = append(gone, e)
		}
	}
	return gone
}

// undoUnanswered undoes failed ADDs whose undo has failed. An ADD under way holds its attachment's lock.
func (d *Detacher) undoUnanswered(ctx context.Context) {
	for _, e := range d.Journal.Entries() {
		if e.Answered != 0 {
			continue
		}
		d.Background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
			defer cancel()
			if err := d.undoOne(ctx, e.Attachment); err != nil {
				d.Log.Error("cannot undo an ADD that was not answered; it is tried again within a minute",
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
		return d.unwire(e, journal.Release{Attachment: at, At: d.Clock.Boot()})
	}
	return nil
}

// collectAll collects the attachments that are gone by some evidence.
func (d *Detacher) collectAll(ctx context.Context, because Evidence, among ...*journal.Entry) {
	for _, e := range among {
		if e.Answered == 0 {
			continue
		}
		d.Background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
			defer cancel()
			if err := d.Collect(ctx, e.Attachment, because); err != nil {
				d.Log.Error("cannot release what a gone container had; it is tried again within a minute", zap.Stringer("attachment", e.Attachment),
					zap.Error(err))
			}
		})
	}
}
