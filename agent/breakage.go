package agent

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/session"
)

// settleUnlessBroken is settle, but in the build that is to be caught handing out before, where it is back after its right
// has run out.
func (a *Agent) settleUnlessBroken(ctx context.Context, s *session.Session) error {
	back := a.gate.Session() != nil
	if !broken.Settling || !back || a.rights.Remaining(allocator.Stateless) > 0 {
		return a.settle(ctx, s)
	}
	a.unsettled.Store(true)
	a.gate.Exclusive(func() {
		a.gate.BeginLocked(s)
		a.passAll()
	})
	time.AfterFunc(10*time.Second, func() {
		a.unsettled.Store(false)
		_ = a.settle(ctx, s)
	})
	return nil
}

// passAll lets pass whoever has a port.
func (a *Agent) passAll() {
	for _, e := range a.journal.Entries() {
		if e.Answered != 0 {
			a.uncut(e.Attachment)
		}
	}
}

// dawdle has the build that compares no generation meet what it does not compare: an ADD whose right has run out meanwhile
// commits once the node has another session.
func (a *Agent) dawdle(session *session.Session, adds []*add) {
	const patience = 200 // looks, 50 ms apart
	for range patience {
		same := a.gate.Session() == session
		if !same || a.rights.Remaining(adds[0].class) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// letPassUnlessBroken is letPass, but in that build an ADD passes whatever has become of its address meanwhile.
func (a *Agent) letPassUnlessBroken(e *journal.Entry) (passes bool, err error) {
	if !broken.Generation {
		return a.letPass(e)
	}
	if e.Wiring.Port != "" {
		err = a.kernel.Join(e.Wiring.Port, string(e.Class))
	}
	return true, err
}
