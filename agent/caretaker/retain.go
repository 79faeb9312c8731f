package caretaker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// retainEvery is how often reservations are compared with their pool's retain time.
const retainEvery = time.Minute

// endRetained ends the reservations that have been detached for longer than their pool's retain time. One agent does it for all;
// if two do, each compares what it ends. The time is policy, not safety: it is that of the records' wall clocks.
func (c *Caretaker) endRetained(ctx context.Context) error {
	return task.Every(ctx, retainEvery, func() {
		if c.Absences.First(c.Name) && c.retains() {
			c.EndOver(ctx, c.Clock.Wall())
		}
	})
}

// retains reports whether any pool ends reservations at all.
func (c *Caretaker) retains() bool {
	for _, p := range c.Config().Pools {
		if p.Retain > 0 {
			return true
		}
	}
	return false
}

// EndOver ends the reservations whose retain time is over at an instant.
func (c *Caretaker) EndOver(ctx context.Context, now time.Time) {
	all, err := c.Store.Reservations.List(ctx)
	if err != nil {
		c.Log.Warn("cannot look for reservations that are over", zap.Error(err))
		return
	}
	pools := c.Config().Pools
	for _, r := range all {
		may := func(r record.Reservation) error {
			if !isOver(r, pools[r.Pool].Retain, now) {
				return errRetained
			}
			return nil
		}
		if may(r) != nil {
			continue
		}
		switch _, err := c.Store.Reservations.EndIf(ctx, r.Identity, may); {
		case err == nil:
			c.Log.Info("ended a reservation, since its pool's retain time is over", zap.Stringer("identity", r.Identity),
				zap.Stringer("address", r.Address))
		case !errors.Is(err, errRetained) && !errors.Is(err, reservation.ErrNotReserved):
			c.Log.Warn("cannot end a reservation that is over", zap.Stringer("identity", r.Identity), zap.Error(err))
		}
	}
}

// errRetained says that a reservation's retain time is not over, or not any more.
var errRetained = errors.New("agent: the reservation is retained")

// isOver reports whether a reservation has been detached for longer than retain, since its owner's end or else since the last
// DEL. One that was never attached stays.
func isOver(r record.Reservation, retain allocator.Duration, now time.Time) bool {
	since := r.LastDel
	if r.Ended != nil {
		since = r.Ended
	}
	return retain > 0 && r.Holder == nil && since != nil && now.Sub(*since) > time.Duration(retain)
}
