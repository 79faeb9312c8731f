package agent

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
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
		a.sweep(ctx)
	case netops.TableChanged:
		a.restoreTable()
	case netops.Cloned:
		a.cloned()
	case netops.PortGone:
		a.collectWhere(ctx, "interface gone", taken, func(e *journal.Entry) bool {
			return e.Wiring.Port == event.Port && !a.kernel.HasPort(event.Port)
		})
	case netops.NamespaceGone:
		a.collectWhere(ctx, "namespace gone", taken, func(e *journal.Entry) bool {
			return e.NamespaceID == event.NamespaceID+1
		})
	}
}

// sweep asks the kernel about every attachment.
func (a *Agent) sweep(ctx context.Context) {
	taken := wire.Boottime()
	a.collectWhere(ctx, "sweep", taken, func(e *journal.Entry) bool { return !a.lives(e) })
	if err := a.forgetPorts(); err != nil {
		a.Log.Error("cannot compare the ports with their classes", zap.Error(err))
	}
}

func (a *Agent) collectWhere(ctx context.Context, evidence string, taken time.Duration, gone func(*journal.Entry) bool) {
	for _, e := range a.journal.Entries() {
		if e.Answered == 0 || !gone(e) {
			continue
		}
		a.background.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			if err := a.collect(ctx, e.Attachment, evidence, taken); err != nil {
				a.Log.Error("cannot give back what a gone container had", zap.Stringer("attachment", e.Attachment), zap.Error(err))
			}
		})
	}
}
