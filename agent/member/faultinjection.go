package member

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/session"
)

// settleUnlessBroken is settle. In the broken build that allocates before settling, it skips that where the node returns after
// its right has run out.
func (se *Settler) settleUnlessBroken(ctx context.Context, s *session.Session) error {
	back := se.Gate.Session() != nil
	if !broken.Settling || !back || se.Rights.Remaining(allocator.Stateless) > 0 {
		return se.settle(ctx, s)
	}
	se.Unsettled.Store(true)
	se.Gate.Exclusive(func() {
		se.Gate.BeginLocked(s)
		se.letAllPass()
	})
	time.AfterFunc(10*time.Second, func() {
		se.Unsettled.Store(false)
		_ = se.settle(ctx, s)
	})
	return nil
}

// letAllPass lets every port pass.
func (se *Settler) letAllPass() {
	for _, e := range se.Journal.Entries() {
		if e.Answered != 0 {
			se.isolator.Uncut(e.Attachment)
		}
	}
}
