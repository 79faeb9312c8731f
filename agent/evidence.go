package agent

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
	"go.uber.org/zap"
)

// sweepEvery is how often the kernel is asked about every attachment, for what no event told.
const sweepEvery = time.Minute

// watchKernel gives back the addresses of containers that the kernel says are gone, whether or not the runtime ever
// calls DEL. It also takes in the notes that a plugin may write while the socket was briefly out of reach.
func (a *Agent) watchKernel(ctx context.Context) error {
	for _, sentence := range a.kernel.Diagnose() {
		a.Log.Warn(sentence)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-a.kernel.Events():
			a.heed(ctx, event)
		case <-tick.C:
			a.sweep(ctx)
			if err := a.takeNotes(); err != nil {
				a.Log.Error("the spool", zap.Error(err))
			}
		}
	}
}

func (a *Agent) heed(ctx context.Context, event netops.Event) {
	taken := wire.Boottime()
	switch event.Kind {
	case netops.Overrun:
		a.machine.look.raise()
		a.sweep(ctx)
	case netops.AddressChanged:
		a.machine.look.raise()
	case netops.TableChanged:
		a.restoreTable()
	case netops.Cloned:
		a.cloned()
	case netops.PortGone:
		if !a.kernel.HasPort(event.Port) {
			a.known(event.Port)
		}
		a.collectWhere(ctx, evidence{"interface gone", taken, func(e *journal.Entry) bool {
			return e.Wiring.Port == event.Port && !a.kernel.HasPort(event.Port)
		}})
	case netops.NamespaceGone:
		a.collectWhere(ctx, evidence{"namespace gone", taken, func(e *journal.Entry) bool {
			return e.NamespaceID == event.NamespaceID+1 && a.namespaceGone(e)
		}})
	}
}

// sweep asks the kernel about every attachment.
func (a *Agent) sweep(ctx context.Context) {
	taken := wire.Boottime()
	a.collectWhere(ctx, evidence{"sweep", taken, func(e *journal.Entry) bool { return !a.lives(e) }})
	a.undoUnanswered(ctx)
	if err := a.forgetPorts(); err != nil {
		a.Log.Error("cannot compare the ports with their classes", zap.Error(err))
	}
}

// undoUnanswered takes back what ADDs have left behind that could not be taken back then. An ADD that is on its way has its
// attachment's lock.
func (a *Agent) undoUnanswered(ctx context.Context) {
	for _, e := range a.journal.Entries() {
		if e.Answered != 0 {
			continue
		}
		a.background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			if err := a.undoOne(ctx, e.Attachment); err != nil {
				a.Log.Error("cannot take back an ADD that was not answered; it is tried again within a minute", zap.Stringer("attachment", e.Attachment), zap.Error(err))
			}
		})
	}
}

func (a *Agent) undoOne(ctx context.Context, at allocator.Attachment) error {
	unlock, err := a.locks.lock(ctx, at)
	if err != nil {
		return err
	}
	defer unlock()
	if e := a.journal.Get(at); e != nil && e.Answered == 0 {
		return a.unwire(e, journal.Release{Attachment: at, At: wire.Boottime()})
	}
	return nil
}

func (a *Agent) collectWhere(ctx context.Context, because evidence) {
	for _, e := range a.journal.Entries() {
		if e.Answered == 0 || !because.gone(e) {
			continue
		}
		a.background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			if err := a.collect(ctx, e.Attachment, because); err != nil {
				a.Log.Error("cannot give back what a gone container had; it is tried again within a minute", zap.Stringer("attachment", e.Attachment), zap.Error(err))
			}
		})
	}
}
