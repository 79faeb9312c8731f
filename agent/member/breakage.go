package member

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/session"
)

// settleUnlessBroken is settle, but in the build that is to be caught handing out before, where it is back after its right
// has run out.
func (a *Settler) settleUnlessBroken(ctx context.Context, s *session.Session) error {
	back := a.Gate.Session() != nil
	if !broken.Settling || !back || a.Rights.Remaining(allocator.Stateless) > 0 {
		return a.settle(ctx, s)
	}
	a.Unsettled.Store(true)
	a.Gate.Exclusive(func() {
		a.Gate.BeginLocked(s)
		a.passAll()
	})
	time.AfterFunc(10*time.Second, func() {
		a.Unsettled.Store(false)
		_ = a.settle(ctx, s)
	})
	return nil
}

// passAll lets pass whoever has a port.
func (a *Settler) passAll() {
	for _, e := range a.Journal.Entries() {
		if e.Answered != 0 {
			a.isolator.Uncut(e.Attachment)
		}
	}
}
